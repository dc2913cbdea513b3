//! `/metrics`, in the OpenMetrics text format.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::Site;
use super::reply::{self, Answer};

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub(super) fn answer(site: &Site) -> Answer {
    reply::fresh(StatusCode::OK, OPENMETRICS, site.metrics.text())
}
