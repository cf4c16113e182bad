//! The floor: what any service costs that takes a conversion and sends it to five places, and promises nothing.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Failed;
use super::sinks::LIMIT;

type Sender = Client<HttpConnector, Full<Bytes>>;

/// Says where it listens and serves until it is ended. `ports`: the sinks'.
pub(crate) fn serve(ports: &[String]) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        super::say(&listener.local_addr()?.to_string());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Sender = Client::builder(TokioExecutor::new()).build(connector);
        let sinks: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}/")).collect();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    stream.set_nodelay(true)?;
                    let (client, sinks) = (client.clone(), sinks.clone());
                    let service = service_fn(move |request| answer(request, client.clone(), sinks.clone()));
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    connections.spawn(async { connection.await.ok(); });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    client: Sender,
    sinks: Vec<String>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    #[expect(clippy::disallowed_methods, reason = "within a limit")]
    let body = Limited::new(request.into_body(), LIMIT).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let is_json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
    let sent = join_all(sinks.iter().map(|sink| send(&client, sink, &body))).await;
    let is_right = is_json && sent.iter().all(Result::is_ok);
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"accepted\"}")));
    *response.status_mut() = if is_right { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY };
    Ok(response)
}

async fn send(client: &Sender, sink: &str, body: &Bytes) -> Result<(), Failed> {
    let request = Request::post(sink).header("content-type", "application/json").body(Full::new(body.clone()))?;
    let response = client.request(request).await?;
    let is_success = response.status().is_success();
    // Read to its end, or its connection is no good for another.
    #[expect(clippy::disallowed_methods, reason = "within a limit")]
    let read = Limited::new(response.into_body(), LIMIT).collect().await;
    if is_success && read.is_ok() { Ok(()) } else { Err("a sink refused".into()) }
}
