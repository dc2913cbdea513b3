//! What the filter asks of the proxy around it.

/// The proxy. Calls about a request concern the one that [`enter`](Host::enter) named last.
pub trait Host {
    /// The time in Unix nanoseconds.
    fn now(&self) -> u64;

    /// Writes to the proxy's log.
    fn log(&self, level: Level, line: &str);

    /// 32 bytes of the operating system's randomness, or nothing.
    fn random(&self) -> Option<[u8; 32]>;

    /// Makes a counter, or finds the one of that name.
    fn define_counter(&self, name: &str) -> Counter;

    /// Adds one.
    fn count(&self, counter: Counter);

    /// Has the timer of the filter ring every so many milliseconds; 0 stops it.
    fn set_timer(&self, milliseconds: u32);

    /// Turns to a request, or to the filter itself, by its context.
    fn enter(&self, context: u32);

    /// The request's headers as the proxy serialises them, see [`Headers`](crate::headers::Headers).
    fn request_headers(&self) -> Vec<u8>;

    /// Takes all headers of that name from the request.
    fn remove_header(&self, name: &[u8]);

    /// Adds a header to the request.
    fn add_header(&self, name: &str, value: &str);

    /// Tells other filters and the access log something about the request.
    fn set_state(&self, name: &str, value: &str);

    /// Answers in the server's place. The proxy makes a gRPC status of it where the request is gRPC.
    fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str, details: &str);

    /// Lets a paused request go on.
    fn resume(&self);

    /// Starts a `GET`; the call's number, or nothing where it can't be started.
    fn fetch(&self, cluster: &str, headers: &[(&str, &str)], timeout_milliseconds: u32) -> Option<u32>;

    /// The headers of the answer to the fetch that has just ended.
    fn fetched_headers(&self) -> Vec<u8>;

    /// The body of that answer, which has so many bytes.
    fn fetched_body(&self, length: usize) -> Vec<u8>;
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All is well.
    Info,
    /// Somebody should look.
    Warn,
    /// It doesn't work.
    Error,
}

/// A counter of the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);
