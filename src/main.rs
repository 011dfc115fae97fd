//! The start of the function: sets up the log, reads the configuration, creates the SNS client and runs the handler.

use std::convert::Infallible;
use std::io;
use std::time::SystemTime;

use lambda_http::{Error, Request, service_fn};
use lambda_runtime::LambdaInvocation;
use lambda_runtime::tower::util::{MapFutureLayer, MapRequestLayer};
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;
use pollo_webhook::{Config, Handler, SnsPublisher, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::subscriber(io::stdout).init();
    let config = Config::from_lookup(|variable| std::env::var(variable));
    let Config { verifier, topic, sns_client } = config.unwrap_or_else(|error| {
        tracing::error!(result = "not_configured", detail = %error);
        // Lambda reports a process that ends before its first event as an init error.
        std::process::exit(1);
    });
    let handler: &'static Handler = Box::leak(Box::new(Handler::new(verifier, SnsPublisher::new(sns_client, topic))));
    let runtime = lambda_http::runtime(service_fn(async |request: Request| {
        Ok::<_, Infallible>(handler.handle(&request, SystemTime::now()).await)
    }))
    .layer(MapRequestLayer::new(|invocation: LambdaInvocation| {
        log::set_request_id(Some(&invocation.context.request_id));
        invocation
    }))
    .layer(MapFutureLayer::new(async |invocation| {
        let result = invocation.await;
        log::set_request_id(None);
        result
    }));
    // A panic during start-up cannot quote an event, so its full message is logged.
    log::install_panic_hook();
    runtime.run().await
}
