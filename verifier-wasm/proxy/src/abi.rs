//! The proxy-wasm ABI 0.2.1, spoken directly.
//!
//! Not by the SDK: that exports a handler for every event there is, and the proxy enters the module for each of them,
//! seven times a request where three do; and it copies every header, where one look at all of them in place does.
//! The environment and randomness are WASI's, which the proxy has on every target.
//!
//! The only unsafe code of the crate: pointers and lengths of our own memory that the proxy reads from and writes to
//! during a call, and what it allocated by our [`malloc`] and gives away.
#![allow(unsafe_code)]

use std::cell::RefCell;

use token::RulesError;
use zeroize::Zeroizing;

use crate::filter::{Filter, Step};
use crate::headers::serialise;
use crate::host::{Counter, Host, Level};

const OK: u32 = 0;
const CONTINUE: u32 = 0;
/// All of the request, and not just its headers: with those alone Envoy may let a body carry on what was stopped
/// (`allow_on_headers_stop_iteration`).
const STOP: u32 = 4;
/// Streams, in `proxy_continue_stream`.
const REQUEST: u32 = 0;
const REQUEST_HEADERS: u32 = 0;
const CALL_RESPONSE_HEADERS: u32 = 6;
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;
const COUNTER: u32 = 0;
/// The proxy chooses the gRPC status by the HTTP status: 16 for 401, 7 for 403, 14 for 503.
const GRPC_STATUS_OF_HTTP: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, line: *const u8, length: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, length: *mut usize) -> u32;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, length: usize) -> u32;
    fn proxy_add_header_map_value(
        kind: u32,
        name: *const u8,
        name_length: usize,
        value: *const u8,
        value_length: usize,
    ) -> u32;
    fn proxy_set_property(path: *const u8, path_length: usize, value: *const u8, value_length: usize) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_length: usize,
        headers: *const u8,
        headers_length: usize,
        body: *const u8,
        body_length: usize,
        trailers: *const u8,
        trailers_length: usize,
        timeout: u32,
        call: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, length: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn environ_sizes_get(count: *mut usize, length: *mut usize) -> u32;
    fn environ_get(variables: *mut *mut u8, bytes: *mut u8) -> u32;
    fn random_get(bytes: *mut u8, length: usize) -> u32;
}

/// The filters of this module's instance, and which of them each request is for.
#[derive(Default)]
struct Instance {
    filters: Vec<(u32, Filter)>,
    /// Request and filter, in the order of the requests' numbers, which only grow.
    requests: Vec<(u32, u32)>,
}

impl Instance {
    fn filter(&mut self, context: u32) -> Option<&mut Filter> {
        self.filters.iter_mut().find(|(known, _)| *known == context).map(|(_, filter)| filter)
    }

    fn filter_of(&mut self, request: u32) -> Option<&mut Filter> {
        let at = self.requests.binary_search_by_key(&request, |(request, _)| *request).ok()?;
        let (_, filter) = *self.requests.get(at)?;
        self.filter(filter)
    }
}

thread_local! {
    // One thread an instance; a second borrow would be a call of ours that calls us, and traps.
    static INSTANCE: RefCell<Instance> = const {
        RefCell::new(Instance { filters: Vec::new(), requests: Vec::new() })
    };
}

/// Which version of the ABI this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what the proxy gives us; see [`given`].
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    // A filter is made by its configuration.
    if parent != 0 {
        INSTANCE.with_borrow_mut(|instance| {
            let at = instance.requests.partition_point(|(request, _)| *request < context);
            instance.requests.insert(at, (context, parent));
        });
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, length: usize) -> bool {
    let json = Envoy.buffer(PLUGIN_CONFIGURATION, length);
    let made = match core::str::from_utf8(&json) {
        Ok(json) => Filter::new(&Envoy, context, json, environment),
        Err(_) => Err(RulesError {
            message: "not JSON text: hand it in as a google.protobuf.StringValue".into(),
            line: 1,
            column: 1,
        }),
    };
    match made {
        Ok(filter) => {
            INSTANCE.with_borrow_mut(|instance| {
                instance.filters.retain(|(known, _)| *known != context);
                instance.filters.push((context, filter));
            });
            true
        }
        // No filter: the proxy refuses the configuration, or answers 503.
        Err(error) => {
            Envoy.log(Level::Error, &format!("seamless: configuration: {error}"));
            false
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    INSTANCE.with_borrow_mut(|instance| {
        if let Some(filter) = instance.filter(context) {
            filter.on_timer(&Envoy);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, _is_end: u32) -> u32 {
    #[cfg(feature = "trap-for-tests")]
    if crate::headers::Headers::new(&Envoy.request_headers()).first("x-trap").is_some() {
        core::arch::wasm32::unreachable();
    }
    INSTANCE.with_borrow_mut(|instance| match instance.filter_of(context) {
        Some(filter) => match filter.on_request(&Envoy, context) {
            Step::Pass => CONTINUE,
            Step::Stop => STOP,
        },
        None => {
            Envoy.answer(503, &[], "", "no_filter");
            STOP
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    context: u32,
    call: u32,
    _headers: u32,
    body_length: usize,
    _trailers: u32,
) {
    INSTANCE.with_borrow_mut(|instance| {
        if let Some(filter) = instance.filter(context) {
            filter.on_fetched(&Envoy, call, body_length);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    INSTANCE.with_borrow_mut(|instance| {
        if let Some(filter) = instance.filter_of(context) {
            filter.on_gone(context);
        }
        match instance.requests.binary_search_by_key(&context, |(request, _)| *request) {
            Ok(at) => _ = instance.requests.remove(at),
            Err(_) => instance.filters.retain(|(known, _)| *known != context),
        }
    });
}

/// The proxy.
struct Envoy;

impl Envoy {
    fn buffer(&self, kind: u32, most: usize) -> Vec<u8> {
        given(|data, length| unsafe { proxy_get_buffer_bytes(kind, 0, most, data, length) })
    }

    fn map(&self, kind: u32) -> Vec<u8> {
        given(|data, length| unsafe { proxy_get_header_map_pairs(kind, data, length) })
    }
}

impl Host for Envoy {
    fn now(&self) -> u64 {
        let mut time = 0;
        // On failure it stays 1970, when no token is valid yet.
        unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
        time
    }

    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Info => 2,
            Level::Warn => 3,
            Level::Error => 4,
        };
        unsafe { proxy_log(level, line.as_ptr(), line.len()) };
    }

    fn random(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        let status = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
        (status == OK && bytes != [0; 32]).then_some(bytes)
    }

    fn define_counter(&self, name: &str) -> Counter {
        let mut metric = 0;
        unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut metric) };
        Counter(metric)
    }

    fn count(&self, counter: Counter) {
        unsafe { proxy_increment_metric(counter.0, 1) };
    }

    fn set_timer(&self, milliseconds: u32) {
        unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
    }

    fn enter(&self, context: u32) {
        unsafe { proxy_set_effective_context(context) };
    }

    fn request_headers(&self) -> Vec<u8> {
        self.map(REQUEST_HEADERS)
    }

    fn remove_header(&self, name: &[u8]) {
        unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) };
    }

    fn add_header(&self, name: &str, value: &str) {
        unsafe {
            proxy_add_header_map_value(
                REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }

    fn set_state(&self, name: &str, value: &str) {
        unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str, details: &str) {
        let headers = serialise(headers);
        unsafe {
            proxy_send_local_response(
                status.into(),
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                GRPC_STATUS_OF_HTTP,
            )
        };
    }

    fn resume(&self) {
        unsafe { proxy_continue_stream(REQUEST) };
    }

    fn fetch(&self, cluster: &str, headers: &[(&str, &str)], timeout_milliseconds: u32) -> Option<u32> {
        let headers = serialise(headers);
        let trailers = serialise(&[]);
        let mut call = 0;
        let status = unsafe {
            proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                core::ptr::null(),
                0,
                trailers.as_ptr(),
                trailers.len(),
                timeout_milliseconds,
                &raw mut call,
            )
        };
        (status == OK).then_some(call)
    }

    fn fetched_headers(&self) -> Vec<u8> {
        self.map(CALL_RESPONSE_HEADERS)
    }

    fn fetched_body(&self, length: usize) -> Vec<u8> {
        self.buffer(CALL_RESPONSE_BODY, length)
    }
}

/// What a call gives us: the proxy took memory by [`malloc`] and wrote to all of it. Empty where the call failed.
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Vec<u8> {
    let mut data = core::ptr::null_mut();
    let mut length = 0;
    if call(&raw mut data, &raw mut length) != OK || data.is_null() {
        return Vec::new();
    }
    // Ours alone from here on, of just this size.
    unsafe { Vec::from_raw_parts(data, length, length) }
}

/// A variable of the environment that the proxy hands in (`environment_variables`).
fn environment(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (mut count, mut length) = (0, 0);
    if unsafe { environ_sizes_get(&raw mut count, &raw mut length) } != OK {
        return None;
    }
    let mut variables = vec![core::ptr::null_mut(); count];
    let mut bytes = Zeroizing::new(vec![0; length]);
    if unsafe { environ_get(variables.as_mut_ptr(), bytes.as_mut_ptr()) } != OK {
        return None;
    }
    bytes.split(|b| *b == 0).find_map(|variable| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(Zeroizing::new(value.to_vec()))
    })
}
