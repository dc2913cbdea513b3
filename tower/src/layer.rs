//! The layer and the service that it makes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use token::{Rejection, Verifier};
use tower_layer::Layer;
use tower_service::Service;

use crate::judge::{Judge, Judgement};
#[cfg(feature = "refresh")]
use crate::refresh::{FetchError, Fetcher, KeyFetch, Wait};
use crate::{reject, request};

/// Puts verification in front of a service.
#[derive(Clone)]
pub struct SeamlessLayer {
    shared: Arc<Shared>,
    with_headers: bool,
}

struct Shared {
    judge: Arc<Judge>,
    realm: Arc<str>,
    #[cfg(feature = "refresh")]
    fetcher: Option<Fetcher>,
}

impl SeamlessLayer {
    /// With keys and policy as they are.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        let realm = verifier.realm().into();
        let shared = Shared {
            judge: Arc::new(Judge::new(verifier)),
            realm,
            #[cfg(feature = "refresh")]
            fetcher: None,
        };
        Self { shared: Arc::new(shared), with_headers: false }
    }

    /// With public keys that are fetched: now, and again when they get old or an unknown one is asked for.
    ///
    /// The verifier must have been told the same issuer by [`Verifier::with_issuer`]. Until the first keys have come,
    /// JWTs are answered with 503. The thread that fetches ends with the last clone of the layer.
    #[cfg(feature = "refresh")]
    pub fn fetching(verifier: Verifier, keys: KeyFetch) -> Result<Self, FetchError> {
        let realm = verifier.realm().into();
        let judge = Arc::new(Judge::new(verifier));
        let fetcher = Some(keys.start(Arc::clone(&judge))?);
        Ok(Self { shared: Arc::new(Shared { judge, realm, fetcher }), with_headers: false })
    }

    /// Adds `X-Seamless-User`, `-Scope` and `-Groups` to requests that go on, for a service behind this one.
    #[must_use]
    pub fn with_headers(mut self) -> Self {
        self.with_headers = true;
        self
    }
}

impl<S> Layer<S> for SeamlessLayer {
    type Service = Seamless<S>;

    fn layer(&self, inner: S) -> Seamless<S> {
        Seamless { inner, shared: Arc::clone(&self.shared), with_headers: self.with_headers }
    }
}

/// A service whose requests have been judged.
#[derive(Clone)]
pub struct Seamless<S> {
    inner: S,
    shared: Arc<Shared>,
    with_headers: bool,
}

impl<S, B, R> Service<Request<B>> for Seamless<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SeamlessFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> SeamlessFuture<S, B> {
        request::strip(&mut request);
        // The one that is ready is the one to use; a clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let state = match self.shared.judge.judge(&request, self.with_headers) {
            Ok(judgement) => State::Inner { future: inner.call(self.shared.admit(request, judgement)) },
            #[cfg(feature = "refresh")]
            Err(rejection) if self.shared.may_wait(rejection) => {
                let wait = self.shared.fetcher.as_ref().map(|fetcher| fetcher.wait());
                State::Waiting { parked: Some((inner, request)), wait }
            }
            Err(rejection) => State::Rejected { parked: Some((rejection, request)) },
        };
        SeamlessFuture { state, shared: Arc::clone(&self.shared), with_headers: self.with_headers }
    }
}

impl Shared {
    fn admit<B>(&self, mut request: Request<B>, judgement: Judgement) -> Request<B> {
        request::set(&mut request, judgement.headers);
        request.extensions_mut().insert(judgement.access);
        #[cfg(feature = "axum")]
        request.extensions_mut().insert(crate::extract::Decided { realm: Arc::clone(&self.realm) });
        request
    }

    /// A key that is new may be on its way.
    #[cfg(feature = "refresh")]
    fn may_wait(&self, rejection: Rejection) -> bool {
        rejection.code == token::Code::UnknownKey && self.fetcher.is_some()
    }
}

pin_project! {
    /// The answer of the service, or the rejection.
    pub struct SeamlessFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        shared: Arc<Shared>,
        with_headers: bool,
    }
}

#[cfg(not(feature = "refresh"))]
type Wait = std::future::Pending<()>;

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Inner { #[pin] future: S::Future },
        Waiting { parked: Option<(S, Request<B>)>, wait: Option<Wait> },
        Rejected { parked: Option<(Rejection, Request<B>)> },
    }
}

impl<S, B, R> Future for SeamlessFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<String>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Inner { future } => return future.poll(cx),
                StateProjection::Rejected { parked } => {
                    let Some((rejection, request)) = parked.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(reject::answer(rejection, &this.shared.realm, request.headers())));
                }
                StateProjection::Waiting { parked, wait } => {
                    if let Some(wait) = wait {
                        ready!(Pin::new(wait).poll(cx));
                    }
                    let Some((mut inner, request)) = parked.take() else { return Poll::Pending };
                    match this.shared.judge.judge(&request, *this.with_headers) {
                        Ok(judgement) => {
                            State::Inner { future: inner.call(this.shared.admit(request, judgement)) }
                        }
                        Err(rejection) => State::Rejected { parked: Some((rejection, request)) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}
