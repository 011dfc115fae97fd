//! The log: one JSON line an event on standard output, which Lambda hands to CloudWatch.

use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::fmt::MakeWriter;
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::{Layer as _, fmt, registry};
use lambda_runtime::tracing::{Subscriber, error, field};

/// Writes our own lines from INFO up and the libraries' errors, each as one flat JSON object.
///
/// The levels are fixed, because far below them the libraries print whole events, signatures and unverified bodies too.
/// What reaches CloudWatch can still be cut down by the function's log level in Lambda, which reads `level`.
pub fn subscriber<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = Targets::new()
        .with_target("pollo_webhook", LevelFilter::INFO)
        // It repeats what our line of a panic says.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_default(LevelFilter::ERROR);
    let lines = fmt::layer().json().flatten_event(true).with_target(false).with_writer(writer);
    registry().with(lines.with_filter(levels))
}

/// Makes a panic one line that says where. Its text is left out: a library's could quote the event.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        error!(result = "panic", location = panic.location().map(field::display));
    }));
}
