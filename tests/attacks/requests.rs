//! Requests that lie, or break the grammar: rules S1, S2, S3 and S11.

use crate::attack::{Attack, End, Scene};
use crate::plan::{Finding, Request, Step};
use crate::support::outcome::Outcome;
use crate::support::probe::probe;
use crate::support::site::Site;
use nix::errno::Errno;

const BAD: End = End::Refused(Errno::EINVAL);
const DENIED: End = End::Refused(Errno::EACCES);

pub(crate) fn attacks() -> Vec<Attack> {
    [lustres(), others(), fields(), callouts(), descriptions(), types()].into_iter().flatten().collect()
}

/// Lustre's own words in a key that a program may ask for. Keys of Lustre's type need its modules.
fn lustres() -> Vec<Attack> {
    let saying = |name: &str, description: &'static str, callout: &'static str| {
        Attack::asking("S1", name, BAD, move |scene| {
            let own = |text: &str| text.replace("@U@", &scene.site.uid().to_string()).into_bytes();
            let request = scene.honest_request("");
            scene.site.serve(&String::from_utf8(own(description)).unwrap());
            scene.ask(Request { description: own(description), callout: Some(own(callout)), ..request })
        })
    };
    vec![
        saying(
            "ask for its own context as Lustre does",
            "@U@@4",
            "4:krb5:@U@:@U@::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1:",
        ),
        saying(
            "ask for the context of root as Lustre does",
            "0@@U@",
            "@U@:krb5:0:0::-:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1:",
        ),
        saying(
            "ask for the node's context as Lustre does",
            "0@1@U@",
            "1@U@:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1:",
        ),
    ]
}

/// A request in the name of this owner.
fn ask_as(scene: &Scene<'_>, owner: &str) -> Outcome {
    let instance = format!(":{}", scene.site.uid());
    scene.ask(scene.site.request_as(owner, scene.shared.nfs(), &instance))
}

/// Requests in the name of others.
fn others() -> Vec<Attack> {
    let named = |name: &str, owner: fn(&Scene<'_>) -> u32| {
        Attack::asking("S2", &format!("ask in the name of {name}"), DENIED, move |scene| {
            ask_as(scene, &owner(scene).to_string())
        })
    };
    let mut attacks = vec![
        named("root", |_| 0),
        named("the machine's account", |scene| scene.site.machine_uid()),
        named("the uid beside", |scene| scene.site.uid() + 2),
        named("uid 4294967295", |_| u32::MAX),
        named("uid 65534, which the kernel shows for uids that are not mapped", |_| 65534),
    ];
    attacks.push(Attack::asking("S2", "ask in the name of a user who has a ticket", DENIED, |scene| {
        let victim = Site::new(scene.shared.realm());
        victim.ticket(scene.shared.realm());
        ask_as(scene, &victim.uid().to_string())
    }));
    attacks.push(Attack::asking(
        "S2",
        "ask in the name of root by the 32-bit system call",
        DENIED,
        |scene| {
            let instance = format!(":{}", scene.site.uid());
            let request = scene.site.request_as("0", scene.shared.nfs(), &instance);
            let mut steps = scene.attacker();
            steps.push(Step::RequestBy32Bit(request));
            match probe(&steps).last() {
                Some(Finding::Requested { serial: None, errno, .. }) => {
                    Outcome::Refused(Errno::from_raw(*errno))
                }
                other => panic!("{other:?}"),
            }
        },
    ));
    attacks.push(Attack::asking(
        "S2",
        "name one service in the description, another in the callout",
        DENIED,
        |scene| {
            let request = scene.honest_request("");
            let service = &scene.shared.nfs().service;
            let description = String::from_utf8(request.description.clone()).unwrap();
            let description =
                description.replace(service.as_str(), &format!("host@{}", scene.shared.realm().host()));
            scene.site.serve(&description);
            scene.ask(Request { description: description.into_bytes(), ..request })
        },
    ));
    attacks
}

/// Fields that would change whose context it is.
fn fields() -> Vec<Attack> {
    let with = |rule, name: &str, end, fields: &'static str| {
        Attack::asking(rule, name, end, move |scene| scene.ask_with_fields(fields))
    };
    vec![
        with("S2", "a field uid=0", BAD, "uid=0"),
        with("S2", "a field pid=1", BAD, "pid=1"),
        with("S2", "a field user=root", BAD, "user=root"),
        with("S2", "a second service", BAD, "svc=host@localhost"),
        with("S2", "a second channel", BAD, "chan=rpc:127.0.0.1:1,1,1"),
        with("S2", "no principal", BAD, "principal="),
        with("S2", "two principals", BAD, "principal=a;principal=b"),
        Attack::asking("S2", "a principal whose ticket it has not", End::Refused(Errno::ENOKEY), |scene| {
            scene.ask_with_fields(&format!("principal=root@{}", scene.shared.realm().name()))
        }),
    ]
}

/// Callouts that break the grammar.
fn callouts() -> Vec<Attack> {
    type Change = fn(&str) -> Vec<u8>;
    let changed = |name: &str, change: Change| {
        Attack::asking("S11", name, BAD, move |scene| {
            let good = String::from_utf8(scene.honest_request("").callout.unwrap()).unwrap();
            scene.ask_with_callout(change(&good))
        })
    };
    vec![
        changed("an empty callout", |_| Vec::new()),
        changed("one letter", |_| b"x".to_vec()),
        changed("another version", |good| good.replace("lgss1", "lgss2").into_bytes()),
        changed("no version", |good| good.trim_start_matches("lgss1;").as_bytes().to_vec()),
        changed("no service", |good| strip(good, "svc=")),
        changed("no channel", |good| strip(good, "chan=")),
        changed("an unknown level", |good| good.replace("level=i", "level=x").into_bytes()),
        changed("a blank at the end", |good| good.replace("level=i", "level=i ").into_bytes()),
        changed("another mechanism", |good| good.replace("mech=krb5", "mech=ntlm").into_bytes()),
        changed("an option in place of the host", |good| {
            good.replace("rpc:127.0.0.1", "rpc:-oProxyCommand=x").into_bytes()
        }),
        changed("a port beyond 65535", |good| {
            good.split(';')
                .map(
                    |field| {
                        if field.starts_with("chan=") { "chan=rpc:127.0.0.1:65536,100003,4" } else { field }
                    },
                )
                .collect::<Vec<_>>()
                .join(";")
                .into_bytes()
        }),
        changed("two empty fields", |good| format!("{good};;").into_bytes()),
        changed("a lifetime of 0", |good| format!("{good};ttl=0").into_bytes()),
        changed("a lifetime below 0", |good| format!("{good};ttl=-1").into_bytes()),
        changed("a lifetime of eleven digits", |good| format!("{good};ttl=99999999999").into_bytes()),
        changed("two caches", |good| format!("{good};cache=FILE:/tmp/a;cache=FILE:/tmp/b").into_bytes()),
        changed("a line feed in a cache's name", |good| format!("{good};cache=FILE:/tmp/a\nx").into_bytes()),
        changed("an escape sequence in a cache's name", |good| {
            format!("{good};cache=FILE:/tmp/\u{1b}[2J").into_bytes()
        }),
        changed("letters that are not ASCII", |good| format!("{good};cache=FILE:/tmp/\u{fc}").into_bytes()),
        changed("a letter that turns the line around", |good| {
            format!("{good};cache=FILE:/tmp/\u{202e}x").into_bytes()
        }),
        changed("bytes that are not UTF-8", |good| {
            [good.as_bytes(), b";cache=FILE:/tmp/", &[0xff, 0xfe]].concat()
        }),
        changed("an option for request-key(8)", |_| b"--config".to_vec()),
        changed("an option of the rule's", |_| b"-R".to_vec()),
        changed("a callout of Lustre's", |_| b"0:krb5:0:0:r:1:x".to_vec()),
        changed("2000 bytes of a name", |good| {
            format!("{good};cache=FILE:/{}", "x".repeat(2000)).into_bytes()
        }),
        changed("a thousand fields", |good| format!("{good}{}", ";a=b".repeat(800)).into_bytes()),
    ]
}

/// The callout without this field.
fn strip(callout: &str, field: &str) -> Vec<u8> {
    callout.split(';').filter(|part| !part.starts_with(field)).collect::<Vec<_>>().join(";").into_bytes()
}

/// Descriptions that break the grammar. `@U@` is the attacker's uid, by which the request reaches us.
fn descriptions() -> Vec<Attack> {
    let described = |name: &str, form: &'static str| {
        Attack::asking("S11", name, BAD, move |scene| {
            let (uid, service) = (scene.site.uid().to_string(), &scene.shared.nfs().service);
            let description = form.replace("@U@", &uid).replace("@S@", service);
            let long = description.replace("@LONG@", &"x".repeat(129));
            if !long.starts_with(&format!("lgss:{uid}:")) {
                scene.site.serve(&long);
            }
            scene.ask(Request { description: long.into_bytes(), ..scene.honest_request("") })
        })
    };
    vec![
        described("a description without a service", "lgss:@U@:"),
        described("a service without a host", "lgss:@U@:nfs"),
        described("a service that looks like an option", "lgss:@U@:-nfs@localhost"),
        described("an empty instance", "lgss:@U@:@S@:"),
        described("an instance that is too long", "lgss:@U@:@S@:@LONG@"),
        described("a line feed in the instance", "lgss:@U@:@S@:a\nb"),
        described("an instance that is not ASCII", "lgss:@U@:@S@:\u{fc}"),
        described("uid -1", "lgss:-1:@S@:@U@"),
        described("uid +0", "lgss:+0:@S@:@U@"),
        described("uid 00", "lgss:00:@S@:@U@"),
        described("uid 0x0", "lgss:0x0:@S@:@U@"),
        described("uid 2^32, which would be 0 in 32 bits", "lgss:4294967296:@S@:@U@"),
        described("no uid", "lgss::@S@:@U@"),
    ]
}

/// Keys of another type under a rule that is too wide.
fn types() -> Vec<Attack> {
    vec![Attack::asking("S3", "a key of the type logon", DENIED, |scene| {
        let request = scene.honest_request("");
        scene.site.replace_rules(|rules| rules.replace("create user ", "create * "));
        scene.ask(Request { key_type: "logon".to_owned(), ..request })
    })]
}
