//! Who asks: the dance of a 401, and where credentials and tokens go and where they never go.

use lith::login::{Login, Secret};
use lith::registry::{Endpoints, RegistryError};

use super::{FakeRegistry, LARGE, REPOSITORY, World, insecure, layer, name, password, serve, world};
use crate::support::registry::{Door, Manners};
use crate::support::server::{Server, reply, self_signed};

const SECRET: &str = "hunter2-secret";

fn bearer(login: Option<(&'static str, &'static str)>) -> Manners {
    Manners { door: Door::Bearer { realm: None, login, life: 300 }, ..Manners::default() }
}

fn known(registry: &FakeRegistry, login: Login) -> World {
    let mut world = world(registry);
    world.logins.logins.insert(registry.host(), login);
    world
}

/// What a registry was told of who asks.
fn told(registry: &FakeRegistry) -> Vec<String> {
    let seen = registry.server.seen();
    seen.iter().filter_map(|request| request.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn tokens_of_all_kinds_of_logins() {
    let identity = Login::IdentityToken(Secret::new(SECRET));
    for (door, login, method) in [
        (None, None, "GET"),
        (Some(("me", SECRET)), Some(password("me", SECRET)), "GET"),
        (Some(("", SECRET)), Some(identity), "POST"),
    ] {
        let registry = FakeRegistry::start(bearer(door));
        serve(&registry, "v1", &[layer(1, 100), layer(2, 100)]);
        let mut world = world(&registry);
        world.logins.logins.extend(login.map(|login| (registry.host(), login)));
        let client = world.client();
        let name = name(&registry);
        client.pull(&world.store, &super::reference(&name), &"linux/amd64".parse().unwrap()).unwrap();
        // One refusal, one token, one look at the logins, for all that is pulled.
        assert_eq!(registry.count(method, "/token"), 1);
        assert_eq!(registry.asked().len(), 1 + 1 + 4);
        assert_eq!(*world.logins.asked.lock().unwrap(), [registry.host()]);
        let token =
            registry.server.seen().into_iter().find(|request| request.path.contains("/token")).unwrap();
        let said = format!("{}{}", token.path, String::from_utf8_lossy(&token.body));
        assert!(said.contains("service=fake"), "{said}");
        assert!(said.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{said}");
        assert!(!token.path.contains(SECRET));
    }
}

#[test]
fn passwords_for_those_who_ask_for_them() {
    let door = Door::Basic { user: "me", password: SECRET };
    let registry = FakeRegistry::start(Manners { door, ..Manners::default() });
    serve(&registry, "v1", &[layer(1, 100)]);
    known(&registry, password("me", SECRET)).pull(&name(&registry)).unwrap();
    assert!(registry.server.seen()[0].header("authorization").is_none(), "nothing is said unasked");
    let error = world(&registry).cannot_pull(&name(&registry));
    assert!(error.contains(&format!("run `lith login {}`", registry.host())), "{error}");
    assert!(error.contains("UNAUTHORIZED: who?"), "{error}");
    let before = registry.asked().len();
    let error = known(&registry, password("me", "wrong-one")).cannot_pull(&name(&registry));
    assert!(error.contains("does not allow this to the login that is known"), "{error}");
    assert!(!error.contains("wrong-one"));
    assert_eq!(registry.asked().len() - before, 2, "what was refused is not tried again");
}

/// Some registries say what they want at the foot of their API alone.
#[test]
fn a_refusal_that_names_nothing_is_asked_about_at_the_foot() {
    let door = Door::Basic { user: "me", password: SECRET };
    let registry = FakeRegistry::faulty(Manners { door, ..Manners::default() }, |exchange, _| {
        let is_known = exchange.request.header("authorization").is_some();
        let is_bare = !is_known && exchange.request.path != "/v2/";
        if is_bare {
            exchange.write(&reply("401 Unauthorized", &[], b""));
        }
        is_bare
    });
    serve(&registry, "v1", &[layer(1, 100)]);
    known(&registry, password("me", SECRET)).pull(&name(&registry)).unwrap();
    assert_eq!(registry.count("GET", "/v2/"), 1 + 1 + 1 + 2, "refused, the foot, then all that is pulled");
    let error = world(&registry).cannot_pull(&name(&registry));
    assert!(error.contains(&format!("run `lith login {}`", registry.host())), "{error}");
    // Where the foot says nothing either, nothing is sent.
    let registry = FakeRegistry::faulty(Manners::default(), |exchange, _| {
        exchange.write(&reply("401 Unauthorized", &[], b""));
        true
    });
    let error = known(&registry, password("me", SECRET)).cannot_pull(&name(&registry));
    assert!(error.contains("it names none") && told(&registry).is_empty(), "{error}");
    assert_eq!(registry.asked().len(), 2);
}

/// R6: credentials are for the registry that an image's name has, to the letter.
#[test]
fn r06_credentials_of_one_registry_are_not_offered_to_another() {
    let registry = FakeRegistry::start(bearer(Some(("me", SECRET))));
    serve(&registry, "v1", &[layer(1, 100)]);
    let mut world = world(&registry);
    for other in ["127.0.0.1", "docker.io", "localhost", "127.0.0.1:1"] {
        world.logins.logins.insert(other.into(), password("me", SECRET));
    }
    let error = world.cannot_pull(&name(&registry));
    assert!(error.contains("lith login"), "{error}");
    assert_eq!(*world.logins.asked.lock().unwrap(), [registry.host()]);
    assert_eq!(told(&registry), [] as [String; 0]);
}

/// R19: a token is used for the scopes that it was asked for, and no other.
#[test]
fn r19_tokens_are_for_their_scopes() {
    let registry = FakeRegistry::start(bearer(None));
    let world = world(&registry);
    let image = world.image(&[layer(1, 100)]);
    let client = world.client();
    serve(&registry, "v1", &[layer(1, 100)]);
    let repository = client.repository(&super::reference(&name(&registry))).unwrap();
    repository.tags().unwrap();
    let what = lith::registry::Push {
        images: &[(&image, &[])],
        tag: Some("v2"),
        mount: Some("base/os"),
        ..lith::registry::Push::default()
    };
    lith::registry::push(&world.store, &repository, &what).unwrap();
    let other = format!("{}/other/app:v1", registry.host());
    let _ = client.repository(&super::reference(&other)).unwrap().tags().unwrap();
    let scopes: Vec<String> = registry
        .server
        .seen()
        .iter()
        .filter(|request| request.path.starts_with("/token"))
        .map(|request| {
            let url = url::Url::parse(&format!("http://h{}", request.path)).unwrap();
            let scopes = url.query_pairs().filter(|(name, _)| name == "scope");
            scopes.map(|(_, scope)| scope.into_owned()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = ["repository:team/app:pull", "repository:team/app:pull,push", "repository:other/app:pull"];
    assert_eq!(scopes, expected, "what is there is not mounted, so nothing is asked about base/os");
}

#[test]
fn tokens_are_renewed_before_and_upon_their_end() {
    let registry = FakeRegistry::faulty(bearer(None), |exchange, fake| {
        // Every token is taken back before it ends, again and again.
        if exchange.number.is_multiple_of(4) {
            fake.revoke();
        }
        false
    });
    serve(&registry, "v1", &[layer(1, 100), layer(2, 100), layer(3, 100)]);
    let mut world = world(&registry);
    world.options.at_once = 1;
    world.pull(&name(&registry)).unwrap();
    assert_eq!(registry.count("GET", "/token"), 3);
    // One that is said to be too old already is not even sent.
    let door = Door::Bearer { realm: None, login: None, life: 1 };
    let registry = FakeRegistry::start(Manners { door, ..Manners::default() });
    serve(&registry, "v1", &[layer(1, 100)]);
    let world = super::world(&registry);
    let client = world.client();
    let repository = client.repository(&super::reference(&name(&registry))).unwrap();
    repository.tags().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(950));
    repository.tags().unwrap();
    assert_eq!(registry.asked().len(), 3 + 2, "the second time a token, then the tags");
}

/// A token that ends in the middle of an upload: the part that was refused is sent again, and what was taken is not.
#[test]
fn a_token_may_end_in_the_middle_of_an_upload() {
    let door = Door::Bearer { realm: None, login: Some(("me", SECRET)), life: 300 };
    let manners = Manners { door, least_chunk: Some(1), ..Manners::default() };
    let registry = FakeRegistry::faulty(manners, |exchange, fake| {
        let is_second_part = exchange.request.method == "PATCH"
            && !exchange.request.header("content-range").unwrap().starts_with("0-");
        if is_second_part && exchange.request.header("authorization").unwrap() == "Bearer token-1" {
            fake.revoke();
        }
        false
    });
    let mut world = known(&registry, password("me", SECRET));
    world.options.chunk = 1 << 20;
    let image = world.image(&[layer(1, LARGE)]);
    world.push(&name(&registry), &image).unwrap();
    assert_eq!(registry.tag(REPOSITORY, "v1"), Some(image.digest.to_string()));
    assert!(registry.count("GET", "/token") >= 2);
    let ranges: Vec<String> = registry
        .server
        .seen()
        .iter()
        .filter(|request| request.method == "PATCH" && !request.body.is_empty())
        .map(|request| request.header("content-range").unwrap().to_owned())
        .collect();
    let mut once = ranges.clone();
    once.dedup();
    assert_eq!(ranges, once, "no part was sent twice");
}

/// R3: a realm that is not encrypted gets neither credentials nor, from an encrypted registry, any request.
#[test]
fn r03_realms_in_the_clear_get_nothing() {
    let realm = Server::start(|_, _| reply("200 OK", &[], br#"{"token":"t"}"#));
    let door = Door::Bearer { realm: Some(realm.url("/token")), login: None, life: 300 };
    let manners = Manners { door, ..Manners::default() };
    let registry = FakeRegistry::start(manners.clone());
    let error = known(&registry, password("me", SECRET)).cannot_pull(&name(&registry));
    assert!(error.contains("is not encrypted") && error.contains(&realm.url("/token")), "{error}");
    assert!(!error.contains(SECRET));
    assert_eq!(realm.seen().len(), 0);
    // From a registry with TLS not even a stranger is sent there.
    let (config, pem) = self_signed(|_| {});
    let encrypted = FakeRegistry::over(Some(config), manners, |_, _| false);
    let mut world = super::stranger();
    world.options.roots = pem.into_bytes();
    assert!(matches!(world.pull(&name(&encrypted)), Err(RegistryError::Realm { .. })));
    assert_eq!(realm.seen().len(), 0);
}

/// R1: where a blob really is gets no word of who asks.
#[test]
fn r01_redirects_to_another_server_take_no_credentials_along() {
    let body = layer(1, 100);
    let (storage_body, blob) = (body.clone(), lith::digest::BlobDigest::of(&body).to_string());
    let storage = Server::start(move |_, _| reply("200 OK", &[], &storage_body));
    let to = storage.url("/somewhere?signature=x");
    let registry = FakeRegistry::faulty(bearer(Some(("me", SECRET))), move |exchange, _| {
        let is_it =
            exchange.request.path.ends_with(&blob) && exchange.request.header("authorization").is_some();
        if is_it {
            exchange.write(&reply("307 Temporary Redirect", &[("Location", &to)], b""));
        }
        is_it
    });
    serve(&registry, "v1", &[body]);
    known(&registry, password("me", SECRET)).pull(&name(&registry)).unwrap();
    assert_eq!(storage.seen().len(), 1);
    assert_eq!(storage.seen()[0].header("authorization"), None);
}

/// R14: a token server that says too much, or nothing that makes sense.
#[test]
fn r14_answers_of_token_servers_have_a_limit() {
    for (body, expected) in [
        (vec![b' '; (1 << 20) + 1], "larger than 1048576 bytes"),
        (b"<html>".to_vec(), "is no token"),
        (b"{}".to_vec(), "has no token"),
        (br#"{"token":"a\nb"}"#.to_vec(), "no header may have"),
    ] {
        let registry = FakeRegistry::faulty(bearer(None), move |exchange, _| {
            let is_token = exchange.request.path.starts_with("/token");
            if is_token {
                exchange.write(&reply("200 OK", &[], &body));
            }
            is_token
        });
        let error = world(&registry).cannot_pull(&name(&registry));
        assert!(error.contains(expected), "{error}");
    }
}

/// R22: neither the registry's name nor an error of its own makes a credential public.
#[test]
fn r22_messages_show_no_credentials() {
    let registry = FakeRegistry::faulty(bearer(Some(("me", SECRET))), |exchange, _| {
        let sent = exchange.request.header("authorization").unwrap_or_default().to_owned();
        let is_refused = sent.starts_with("Bearer");
        if is_refused {
            let said = format!("{sent} of me:{SECRET} at http://me:{SECRET}@h/ is bad");
            exchange.write(&reply("403 Forbidden", &[], said.as_bytes()));
        }
        is_refused
    });
    let error = known(&registry, password("me", SECRET)).cannot_pull(&name(&registry));
    assert!(error.contains("is bad"), "{error}");
    for secret in [SECRET, "token-1"] {
        assert!(!error.contains(secret), "{error}");
    }
    let refused = known(&registry, password("me", "hunter3-secret")).cannot_pull(&name(&registry));
    assert!(refused.contains("lith login") && !refused.contains("hunter3"), "{refused}");
}

/// A mirror has its own credentials, and the registry's are not for it.
#[test]
fn mirrors_get_their_own_credentials() {
    let (mirror, registry) =
        (FakeRegistry::start(bearer(Some(("me", SECRET)))), FakeRegistry::start(bearer(None)));
    for registry in [&mirror, &registry] {
        serve(registry, "v1", &[layer(1, 100)]);
    }
    let mut world = known(&registry, password("me", SECRET));
    let own = Some(insecure(&registry.host()));
    let endpoints = Endpoints { mirrors: vec![insecure(&mirror.host())], own };
    world.options.registries.insert(registry.host(), endpoints);
    world.pull(&name(&registry)).unwrap();
    assert_eq!(told(&mirror), [] as [String; 0]);
    assert_eq!(registry.count("GET", "/blobs/"), 2, "the mirror let nobody in");
    let mut invited = super::world(&registry);
    invited.options.registries = world.options.registries.clone();
    invited.logins.logins.insert(mirror.host(), password("me", SECRET));
    invited.pull(&name(&registry)).unwrap();
    assert_eq!(registry.count("GET", "/blobs/"), 2, "the mirror had all");
}
