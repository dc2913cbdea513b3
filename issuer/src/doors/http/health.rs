//! `/healthz`: whether a token could be minted now. Says what is missing, not where.

use std::sync::Arc;

use hyper::StatusCode;

use super::Site;
use super::reply::{self, Answer};
use crate::doors::blocking::blocking;
use crate::services::health::{Health, health};

pub(super) async fn answer(site: &Site) -> Answer {
    let realm = Arc::clone(&site.realm);
    match blocking(move || Ok(health(&realm))).await {
        Ok(Health::Good) => reply::line(StatusCode::OK, "ok\n"),
        Ok(Health::NoKey) => reply::line(StatusCode::SERVICE_UNAVAILABLE, "no active signing key\n"),
        Ok(Health::NoRoom) => reply::line(StatusCode::SERVICE_UNAVAILABLE, "no room for the audit log\n"),
        Ok(Health::NoStore(error)) | Err(error) => {
            site.report("the store does not answer", &error);
            reply::line(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}
