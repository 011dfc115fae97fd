//! The log: one JSON line an event on standard output, which Lambda hands to CloudWatch.

use std::cell::RefCell;

use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::fmt::MakeWriter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};
use tracing::{Subscriber, error, field};

thread_local! {
    /// The request at hand. The runtime has one thread, and handles one request at a time.
    static REQUEST_ID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Writes our own lines from INFO up and the libraries' errors, each as one flat JSON object.
///
/// The levels are fixed, because below them the libraries print whole events, signatures and unverified bodies too.
/// Lambda's own log level of the function, which reads `level`, can still reduce what reaches CloudWatch.
pub fn subscriber<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = Targets::new()
        .with_target("pollo_webhook", LevelFilter::INFO)
        // It repeats what our line of a panic says.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_default(LevelFilter::ERROR);
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    registry().with(levels).with(lines.with_target(false).with_writer(writer))
}

/// Names the request that the line of a panic belongs to.
pub fn set_request_id(id: &str) {
    REQUEST_ID.with_borrow_mut(|request_id| id.clone_into(request_id));
}

/// Makes a panic one line that says where. Its text is left out: a library's could quote the event.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        error!(result = "panic", requestId = REQUEST_ID.take(), location = panic.location().map(field::display));
    }));
}
