//! The runtime: Workers' requests, bindings and fetch.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use token::settings::Settings;
use token::{
    Code, Outcome, Rejection, RequestView, Rules, identity_headers, is_identity_header, www_authenticate,
};
use worker::js_sys::{Function, Object, Promise, Reflect, Uint8Array, global};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::worker_sys::web_sys::{
    AbortSignal, Headers, Request, RequestInit, RequestRedirect, Response, ResponseInit,
};
use worker::{Context, Delay, Env, event};

use crate::edge::{self, Edge, Entry, Fetched, Host};

/// Which request needs what; the variable `RULES` takes its place.
const RULES: &str = include_str!("../rules.json");
/// A JWKS is no longer than this.
const MOST: usize = 64 * 1024;
/// How long a fetch of keys may take, in milliseconds.
const PATIENCE: u32 = 5000;
/// Keys that nobody confirmed for longer, in seconds, count nowhere.
const LIFE: u64 = 24 * 3600;

thread_local! {
    /// Made in an isolate's first request: global scope has neither bindings nor randomness.
    static EDGE: RefCell<Option<Rc<RefCell<Edge>>>> = const { RefCell::new(None) };
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, ctx: Context) -> worker::Result<Response> {
    let (edge, origin) = match awake(&env).and_then(|edge| Ok((edge, Origin::of(&env)?))) {
        Ok(both) => both,
        Err(error) => {
            worker::console_error!("seamless: error: {error}");
            return answer(Code::KeysUnavailable.into(), "");
        }
    };
    let host = Runtime { env, ctx: Rc::new(ctx) };
    let view = View::of(&request);
    let verdict = edge::check(&edge, &host, &view, |outcome| match outcome {
        Outcome::Open | Outcome::Anonymous => Ok(None),
        Outcome::Identity(identity) => Ok(Some(identity_headers(&identity))),
        Outcome::Rejection(rejection) => Err(rejection),
    })
    .await;
    match verdict {
        Ok(identity) => {
            let request =
                forward(&request, &view, &origin, identity.as_ref().map_or(&[][..], |found| found))?;
            match JsFuture::from(call_fetch(&request)?).await {
                Ok(response) => Ok(response.unchecked_into()),
                Err(_) => {
                    worker::console_error!("seamless: error: the origin does not answer");
                    let init = ResponseInit::new();
                    init.set_status(502);
                    Ok(Response::new_with_opt_str_and_init(Some("bad gateway\n"), &init)?)
                }
            }
        }
        Err(rejection) => {
            let realm = edge.borrow().realm().to_owned();
            answer(rejection, &realm)
        }
    }
}

/// The isolate's edge. All at once: no second request can come between.
fn awake(env: &Env) -> Result<Rc<RefCell<Edge>>, String> {
    EDGE.with_borrow_mut(|kept| {
        if let Some(edge) = kept {
            return Ok(Rc::clone(edge));
        }
        let edge = Rc::new(RefCell::new(configured(env)?));
        *kept = Some(Rc::clone(&edge));
        Ok(edge)
    })
}

/// By the variables of wrangler.toml and Worker secrets.
fn configured(env: &Env) -> Result<Edge, String> {
    let json = json(env, "SEAMLESS")?.ok_or("the variable SEAMLESS is missing: it holds the settings")?;
    let secret = |name: &str| Some(text(env, name)?.into_bytes().into());
    let mut settings = Settings::from_json(&json, secret).map_err(|error| format!("SEAMLESS: {error}"))?;
    let rules = json_or_file(env)?;
    let rules = Rules::from_json(&rules).map_err(|error| format!("rules: {error}"))?;
    settings.verifier = settings.verifier.with_rules(rules);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
    Edge::new(settings, seed).map_err(|error| format!("SEAMLESS: {error}"))
}

fn json_or_file(env: &Env) -> Result<String, String> {
    let settings = binding(env, "SEAMLESS");
    if settings.is_object() && !binding(&settings, "rules").is_undefined() {
        return Err("rules: they belong into rules.json or the variable RULES, not into SEAMLESS".into());
    }
    Ok(json(env, "RULES")?.unwrap_or_else(|| RULES.to_owned()))
}

/// A variable that is JSON text, or a table of wrangler.toml.
fn json(env: &Env, name: &str) -> Result<Option<String>, String> {
    let value = binding(env, name);
    if value.is_undefined() {
        return Ok(None);
    }
    if let Some(text) = value.as_string() {
        return Ok(Some(text));
    }
    let text = worker::js_sys::JSON::stringify(&value).map_err(|_| format!("{name}: not JSON"))?;
    Ok(text.as_string())
}

fn text(env: &Env, name: &str) -> Option<String> {
    binding(env, name).as_string()
}

fn binding(env: &JsValue, name: &str) -> JsValue {
    Reflect::get(env, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// Where requests that pass go: `ORIGIN`, or by a route of the zone to what stands behind it.
struct Origin(Option<String>);

impl Origin {
    fn of(env: &Env) -> Result<Self, String> {
        let Some(origin) = text(env, "ORIGIN") else { return Ok(Self(None)) };
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        // Whatever else stands in it would end up in front of the path that was judged.
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@', '\\'])) {
            return Err("ORIGIN: scheme and host, as in https://origin.example.com".into());
        }
        Ok(Self(Some(origin)))
    }
}

/// The request to hand on: inbound identity headers stripped, our own set, the path that was judged.
fn forward(
    request: &Request,
    view: &View,
    origin: &Origin,
    identity: &[(&'static str, String)],
) -> Result<Request, JsValue> {
    let url = match &origin.0 {
        Some(origin) => format!("{origin}{}", view.path.as_deref().unwrap_or("/")),
        None => request.url(),
    };
    // The old request in the place of the options: its body goes on without passing through here.
    let forwarded = Request::new_with_str_and_init(&url, request.unchecked_ref::<RequestInit>())?;
    let init = RequestInit::new();
    // A redirect is the client's to follow; an identity goes nowhere but to the origin.
    init.set_redirect(RequestRedirect::Manual);
    let forwarded = Request::new_with_request_and_init(&forwarded, &init)?;
    let headers = forwarded.headers();
    for name in names(&request.headers())? {
        if is_identity_header(&name) {
            headers.delete(&name)?;
        }
    }
    for (name, value) in identity {
        headers.set(name, value)?;
    }
    Ok(forwarded)
}

fn names(headers: &Headers) -> Result<Vec<String>, JsValue> {
    headers.keys().into_iter().map(|name| Ok(name?.as_string().unwrap_or_default())).collect()
}

fn answer(rejection: Rejection, realm: &str) -> worker::Result<Response> {
    let headers = Headers::new()?;
    headers.set("content-type", "text/plain; charset=utf-8")?;
    headers.set("cache-control", "no-store")?;
    if matches!(rejection.code.status(), 401 | 403) {
        for challenge in www_authenticate(rejection.code, realm) {
            headers.append("www-authenticate", &challenge)?;
        }
    }
    let init = ResponseInit::new();
    init.set_status(rejection.code.status());
    init.set_headers(&headers);
    Ok(Response::new_with_opt_str_and_init(Some(&format!("{rejection}\n")), &init)?)
}

/// A request as the core sees it.
struct View {
    method: String,
    authority: String,
    path: Option<String>,
    authorization: Option<Vec<u8>>,
    /// Of bytes that are lost.
    unreadable: bool,
}

impl View {
    fn of(request: &Request) -> Self {
        let url = request.url();
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => ("", ""),
        };
        // A fragment never reaches a server.
        let path = path.split('#').next().filter(|path| !path.is_empty());
        let value = request.headers().get("authorization").ok().flatten();
        Self {
            method: request.method(),
            authority: authority.to_owned(),
            path: path.map(str::to_owned),
            // workerd reads headers as UTF-8, whatever Fetch says, and what is none can't be had back.
            unreadable: value.as_ref().is_some_and(|value| value.contains('\u{fffd}')),
            authorization: value.map(String::into_bytes),
        }
    }
}

impl RequestView for View {
    fn method(&self) -> &str {
        &self.method
    }

    fn scheme(&self) -> &str {
        // No rule asks for it.
        ""
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> Option<&[u8]> {
        self.path.as_deref().map(str::as_bytes)
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = name == "authorization";
        // Two of them is what the core refuses.
        let unreadable = [&b","[..], &b","[..]].into_iter().filter(move |_| wanted && self.unreadable);
        self.authorization.as_deref().filter(|_| wanted).into_iter().chain(unreadable)
    }
}

/// What Workers give to one request.
#[derive(Clone)]
struct Runtime {
    env: Env,
    ctx: Rc<Context>,
}

impl Host for Runtime {
    fn now(&self) -> u64 {
        worker::Date::now().as_millis() / 1000
    }

    async fn cached(&self, name: &str) -> Option<Entry> {
        let kv = self.env.kv("KEYS").ok()?;
        match kv.get(name).text().await {
            Ok(text) => serde_json::from_str(&text?).ok(),
            Err(error) => {
                self.warn(&format!("the cached keys can't be read: {error}"));
                None
            }
        }
    }

    async fn keep(&self, name: &str, entry: &Entry) {
        let Ok(kv) = self.env.kv("KEYS") else { return };
        let Ok(text) = serde_json::to_string(entry) else { return };
        let done = match kv.put(name, text) {
            Ok(put) => put.expiration_ttl(LIFE).execute().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.warn(&format!("the keys can't be cached: {error}"));
        }
    }

    async fn fetch(&self, url: &str, etag: Option<&str>) -> Option<Fetched> {
        get(url, etag).await.ok()
    }

    fn spawn<J>(&self, job: J) -> impl Future<Output = ()>
    where
        J: Future<Output = ()> + 'static,
    {
        let promise = future_to_promise(async {
            job.await;
            Ok(JsValue::UNDEFINED)
        });
        self.ctx.as_ref().as_ref().wait_until(&promise).unwrap_or_default();
        async {
            _ = JsFuture::from(promise).await;
        }
    }

    fn sleep(&self, milliseconds: u32) -> impl Future<Output = ()> {
        Delay::from(Duration::from_millis(milliseconds.into()))
    }

    fn warn(&self, message: &str) {
        worker::console_warn!("seamless: warning: {message}");
    }
}

async fn get(url: &str, etag: Option<&str>) -> Result<Fetched, JsValue> {
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&AbortSignal::timeout_with_u32(PATIENCE)));
    let request = Request::new_with_str_and_init(url, &init)?;
    request.headers().set("accept", "application/json")?;
    if let Some(etag) = etag {
        request.headers().set("if-none-match", etag)?;
    }
    let response: Response = JsFuture::from(call_fetch(&request)?).await?.unchecked_into();
    let header = |name: &str| response.headers().get(name).ok().flatten();
    Ok(Fetched {
        status: response.status(),
        etag: header("etag"),
        max_age: header("cache-control").as_deref().and_then(token::refresh::max_age),
        age: header("age").and_then(|age| age.trim().parse().ok()),
        body: if response.status() == 200 { read(&response).await? } else { String::new() },
    })
}

/// A body of 64 KiB at most.
async fn read(response: &Response) -> Result<String, JsValue> {
    let mut body = Vec::new();
    let Some(stream) = response.body() else { return Ok(String::new()) };
    let reader: Object = method(&stream, "getReader")?.unchecked_into();
    loop {
        let chunk = JsFuture::from(method(&reader, "read")?.unchecked_into::<Promise>()).await?;
        if Reflect::get(&chunk, &"done".into())?.is_truthy() {
            break;
        }
        body.extend(Uint8Array::new(&Reflect::get(&chunk, &"value".into())?).to_vec());
        if body.len() > MOST {
            JsFuture::from(method(&reader, "cancel")?.unchecked_into::<Promise>()).await?;
            return Err("over 64 KiB".into());
        }
    }
    String::from_utf8(body).map_err(|_| "not UTF-8".into())
}

fn method(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &name.into())?.unchecked_into::<Function>().call0(object)
}

fn call_fetch(request: &Request) -> Result<Promise, JsValue> {
    let fetch: Function = Reflect::get(&global(), &"fetch".into())?.unchecked_into();
    Ok(fetch.call1(&JsValue::UNDEFINED, request)?.unchecked_into())
}
