//! The service grpc.health.v1.Health. As in etcd one name is known, the empty one. It is healthy as
//! long as the server runs; `/health` and Status report alarms.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::reply::ServiceResult;
use super::store::Store;
use super::store::stopped;
use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::{HealthCheckRequest, HealthCheckResponse, health_server};

/// Reports that the server runs.
pub(crate) struct Health(pub Arc<Store>);

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> ServiceResult<HealthCheckResponse> {
        match request.into_inner().service.as_str() {
            "" => Ok(Response::new(HealthCheckResponse {
                status: ServingStatus::Serving as i32,
            })),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    type WatchStream = HealthUpdates;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> ServiceResult<Self::WatchStream> {
        let status = match request.into_inner().service.as_str() {
            "" => ServingStatus::Serving,
            _ => ServingStatus::ServiceUnknown,
        };
        let response = Some(HealthCheckResponse {
            status: status as i32,
        });
        Ok(Response::new(HealthUpdates {
            response,
            closed: Box::pin(self.0.closed()),
        }))
    }
}

/// One response, then nothing until the server closes: the state does not change before.
pub(crate) struct HealthUpdates {
    response: Option<HealthCheckResponse>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for HealthUpdates {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(response) = self.response.take() {
            return Poll::Ready(Some(Ok(response)));
        }
        ready!(self.closed.as_mut().poll(cx));
        Poll::Ready(Some(Err(stopped())))
    }
}
