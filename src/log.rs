//! The log: one JSON object per line on standard output, which Lambda sends to CloudWatch.

use std::cell::RefCell;

use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::fmt::MakeWriter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::{fmt, registry};
use tracing::{Subscriber, error, field};

thread_local! {
    /// The id of the current request. The runtime has one thread, and handles one request at a time.
    static REQUEST_ID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Writes the function's lines from INFO up and the libraries' errors, each as one flat JSON object.
///
/// The levels are fixed, because at lower levels the libraries print whole events, signatures and unverified bodies.
/// Lambda's application log level, which filters by `level`, can still drop lines before CloudWatch.
pub fn subscriber<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = Targets::new()
        .with_target("pollo_webhook", LevelFilter::INFO)
        // The panic hook logs the same panic.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_default(LevelFilter::ERROR);
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    registry().with(levels).with(lines.with_target(false).with_writer(writer))
}

/// Sets the request id that the line of a panic has.
pub fn set_request_id(id: &str) {
    REQUEST_ID.with_borrow_mut(|request_id| id.clone_into(request_id));
}

/// Logs a panic as one line with its location. The panic's message is omitted, because it could quote the event.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        error!(result = "panic", requestId = REQUEST_ID.take(), location = panic.location().map(field::display));
    }));
}
