//! Provisioning for the test suites of SDKs: apps made and deleted over HTTP. Only a server for development has it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fanfare_engine::Engine;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{
    App, AppId, Capability, ChannelKey, ChannelName, ConnectionId, Durability, Key, KeyId, Limits, MemberKey,
    Now, PresenceEvent, Rule, Rules,
};
use fanfare_store::Scope;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::ask::ask;
use super::context::Context;
use super::ids;
use super::respond::{self, Answer};
use crate::auth::Method;
use crate::wire::{self, Format};

/// Apps of one process. They live until they are deleted or the server ends.
const APPS_MAX: usize = 1_000;
/// Keys, namespaces and channels of one app, each.
const PARTS_MAX: usize = 1_000;
const MEMBERS_MAX: u64 = 10_000;
/// What a key without a capability of its own may do.
const CAPABILITY_DEFAULT: &str = r#"{"*":["*"]}"#;

pub type SandboxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ErrorInfo>> + Send + 'a>>;

pub trait Sandbox: Send + Sync {
    /// Makes an app of `post_apps` of the SDKs' common resources, and says all about it.
    fn create_app(&self, body: Value) -> SandboxFuture<'_, Value>;
    fn delete_app(&self, app: AppId) -> SandboxFuture<'_, ()>;
}

/// Where clients of the new app are to go: an address of this server.
#[derive(Clone, Debug)]
pub struct Address {
    /// With a dot in it, or an SDK takes it for a name of Ably's.
    pub endpoint: String,
    pub port: u16,
    pub tls: bool,
}

/// Apps in this process's directory.
pub struct LocalSandbox {
    engine: Engine,
    clock: Arc<dyn Fn() -> Now + Send + Sync>,
    address: Address,
    limits: Limits,
    /// Only these can be deleted.
    made: Mutex<HashSet<AppId>>,
}

impl LocalSandbox {
    /// `limits` are those of apps that ask for none.
    pub fn new(
        engine: Engine,
        clock: Arc<dyn Fn() -> Now + Send + Sync>,
        address: Address,
        limits: Limits,
    ) -> Self {
        Self { engine, clock, address, limits, made: Mutex::default() }
    }

    async fn create(&self, body: Value) -> Result<Value, ErrorInfo> {
        let app_id = AppId::parse(&ids::random(8)?)?;
        let (app, keys) = app_of(&body, app_id.clone(), &self.limits)?;
        let fixtures = fixtures(&body, &app_id, (self.clock)())?;
        let answer = self.described(&body, &app, &keys);
        {
            let mut made = self.made.lock();
            if made.len() >= APPS_MAX {
                return Err(error::unavailable(format!("the sandbox has {APPS_MAX} apps already")));
            }
            made.insert(app_id);
        }
        self.engine.directory().insert(app);
        for (channel, events) in fixtures {
            ask(|reply| self.engine.presence(channel, events, reply)).await??;
        }
        Ok(answer)
    }

    /// Everything that any SDK's suite reads. Keys stand in the order of the request.
    fn described(&self, body: &Value, app: &App, keys: &[Arc<Key>]) -> Value {
        let keys: Vec<Value> = keys.iter().map(|key| described_key(&app.id, key)).collect();
        let namespace = |id: &str| described_namespace(id, app.rules.namespaces.get(id));
        let namespaces = list(body, "namespaces").iter().filter_map(|n| n["id"].as_str()).map(namespace);
        let Address { endpoint, port, tls } = &self.address;
        json!({
            "appId": app.id.as_str(),
            "id": app.id.as_str(),
            "accountId": "sandbox",
            "status": "enabled",
            "tlsOnly": app.tls_only,
            "keys": keys,
            "namespaces": namespaces.collect::<Vec<_>>(),
            "channels": list(body, "channels"),
            "connections": [],
            "endpoint": endpoint,
            "port": port,
            "tls": tls,
        })
    }

    async fn delete(&self, app: AppId) -> Result<(), ErrorInfo> {
        if !self.made.lock().remove(&app) {
            return Err(error::forbidden("this app was not made here"));
        }
        self.engine.directory().remove(&app);
        self.engine.reconfigured();
        ask(|reply| self.engine.erase(Scope::App(app), reply)).await??;
        Ok(())
    }
}

impl Sandbox for LocalSandbox {
    fn create_app(&self, body: Value) -> SandboxFuture<'_, Value> {
        Box::pin(self.create(body))
    }

    fn delete_app(&self, app: AppId) -> SandboxFuture<'_, ()> {
        Box::pin(self.delete(app))
    }
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().map_or(&[], Vec::as_slice)
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or(false)
}

fn app_of(body: &Value, id: AppId, limits: &Limits) -> Result<(App, Vec<Arc<Key>>), ErrorInfo> {
    if ["keys", "namespaces", "channels"].iter().any(|name| list(body, name).len() > PARTS_MAX) {
        return Err(error::bad_request(format!(
            "an app has {PARTS_MAX} keys, namespaces and channels at most"
        )));
    }
    let keys = list(body, "keys").iter().map(key_of).collect::<Result<Vec<_>, _>>()?;
    let mut limits = limits.clone();
    if let Some(most) = body["limits"]["presence"]["maxMembers"].as_u64() {
        limits.presence_members_max = most.min(MEMBERS_MAX) as usize;
    }
    let app = App {
        id,
        enabled: true,
        tls_only: flag(body, "tlsOnly"),
        keys: keys.iter().map(|key| (key.id.clone(), key.clone())).collect::<HashMap<_, _>>(),
        rules: Rules { default: Rule::default(), namespaces: rules_of(body)? },
        limits,
    };
    Ok((app, keys))
}

fn key_of(asked: &Value) -> Result<Arc<Key>, ErrorInfo> {
    let capability = match &asked["capability"] {
        Value::Null => CAPABILITY_DEFAULT.to_owned(),
        Value::String(text) => text.clone(),
        object => object.to_string(),
    };
    Ok(Arc::new(Key {
        id: KeyId::parse(&ids::random(6)?)?,
        secret: SecretString::from(ids::random(43)?),
        capability: Arc::new(Capability::parse(&capability)?),
        revocable_tokens: flag(asked, "revocableTokens"),
        enabled: true,
    }))
}

fn rules_of(body: &Value) -> Result<HashMap<String, Rule>, ErrorInfo> {
    let rule = |namespace: &Value| {
        let id = namespace["id"].as_str().ok_or_else(|| error::bad_request("a namespace has an id"))?;
        let durability = match (flag(namespace, "persisted"), flag(namespace, "persistLast")) {
            (true, _) => Durability::Persist,
            (false, true) => Durability::PersistLast,
            (false, false) => Durability::Tail,
        };
        let rule = Rule {
            durability,
            identified: flag(namespace, "identified") || flag(namespace, "authenticated"),
            tls_only: flag(namespace, "tlsOnly"),
            push_enabled: flag(namespace, "pushEnabled"),
            mutable_messages: flag(namespace, "mutableMessages"),
            ..Rule::default()
        };
        Ok((id.to_owned(), rule))
    };
    list(body, "namespaces").iter().map(rule).collect()
}

/// Members that are there without a connection: those of the whole app share one made-up connection id.
fn fixtures(body: &Value, app: &AppId, now: Now) -> Result<Vec<(ChannelKey, Vec<PresenceEvent>)>, ErrorInfo> {
    let connection = ConnectionId::new(&ids::random(10)?);
    let mut all = Vec::new();
    for (serial, channel) in list(body, "channels").iter().enumerate() {
        let name = channel["name"].as_str().ok_or_else(|| error::bad_request("a channel has a name"))?;
        let name = ChannelName::parse(name)?;
        let inputs = wire::decode_presence(Format::Json, channel["presence"].to_string().as_bytes())?;
        let events = inputs.into_iter().enumerate().map(|(index, input)| {
            let client_id = input.client_id.ok_or_else(|| error::presence_needs_client_id(""))?;
            Ok(PresenceEvent {
                action: input.action,
                id: format!("{connection}:{serial}:{index}").into(),
                member: MemberKey { connection_id: connection.clone(), client_id },
                data: input.data,
                encoding: input.encoding,
                extras: input.extras,
                timestamp: now.wall,
            })
        });
        let events = events.collect::<Result<Vec<_>, ErrorInfo>>()?;
        if !events.is_empty() {
            all.push((ChannelKey { app: app.clone(), name }, events));
        }
    }
    Ok(all)
}

fn described_key(app: &AppId, key: &Key) -> Value {
    let secret = key.secret.expose_secret();
    let name = format!("{app}.{}", key.id);
    json!({
        "id": key.id.as_str(),
        "value": secret,
        "keyName": name,
        "keySecret": secret,
        "keyStr": format!("{name}:{secret}"),
        "capability": key.capability.to_json(),
        "revocableTokens": key.revocable_tokens,
        "status": "enabled",
        "expires": 0,
    })
}

fn described_namespace(id: &str, rule: Option<&Rule>) -> Value {
    let rule = rule.cloned().unwrap_or_default();
    json!({
        "id": id,
        "persisted": rule.durability == Durability::Persist,
        "persistLast": rule.durability == Durability::PersistLast,
        "identified": rule.identified,
        "tlsOnly": rule.tls_only,
        "pushEnabled": rule.push_enabled,
        "mutableMessages": rule.mutable_messages,
    })
}

/// `POST /apps`; anyone may.
pub(super) async fn create(context: &mut Context) -> respond::Result {
    let Some(sandbox) = context.server.state.sandbox.clone() else { return Err(error::not_found("")) };
    let body = context.body_value().await?;
    if !body.is_object() {
        return Err(error::bad_request("an app is an object"));
    }
    let made = sandbox.create_app(body).await?;
    Ok(Answer::created(wire::to_format(&made, context.format)))
}

/// `DELETE /apps/{app}`, with a key of that app.
pub(super) async fn delete(context: &Context, app: &str) -> respond::Result {
    let Some(sandbox) = context.server.state.sandbox.clone() else { return Err(error::not_found("")) };
    let identity = context.identity()?;
    if !matches!(identity.method, Method::Basic) {
        return Err(error::needs_basic(""));
    }
    if identity.app.id.as_str() != app {
        return Err(error::forbidden("the key is another app's"));
    }
    sandbox.delete_app(identity.app.id.clone()).await?;
    Ok(Answer::no_content())
}

/// `POST /stats`: accepted, so that suites that begin with it go on, and passed over.
pub(super) fn stats(context: &Context) -> respond::Result {
    context.identity()?;
    Ok(Answer::created(wire::to_format(&json!([]), context.format)))
}
