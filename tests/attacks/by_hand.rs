//! The installed programs started by hand: rules S1, S3, S10, S13 and S18.

use crate::attack::{Attack, Scene};
use std::fs;

pub(crate) fn attacks() -> Vec<Attack> {
    [upcalls(), workers()].into_iter().flatten().collect()
}

/// The program ends with its own status for a failure, shows nothing and leaves no file in the directory of the upcalls.
fn expect_failure(scene: &Scene<'_>, script: &str, status: i32) {
    let before = names(scene);
    let output = scene.run(script, &[]);
    assert_eq!(output.status.code(), Some(status), "{script}: {output:?}");
    assert!(output.stdout.is_empty(), "{script}: {output:?}");
    scene.site.wait_until_idle();
    assert_eq!(names(scene), before, "{script} has made files");
}

fn names(scene: &Scene<'_>) -> Vec<String> {
    let entries = fs::read_dir(scene.site.path("run")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Starts a program by a script; it must end with this status.
fn started(rule: &'static str, status: i32, name: &str, script: &'static str) -> Attack {
    Attack::checked(rule, name, "an error, no effect", move |scene| expect_failure(scene, script, status))
}

fn upcalls() -> Vec<Attack> {
    let lustres = |name, script| started("S1", 1, name, script);
    let started = |name, script| started("S3", 1, name, script);
    vec![
        lustres(
            "start the upcall with the words of a request of Lustre's for the node",
            "exec $D/lgss_keyring --config $D/lgss.toml create 77 lgssc 0@4 \
             4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1: 0 0 0 0 0",
        ),
        lustres(
            "the same with a key of one's own",
            "k=$(keyctl add user 0@4 x @u) && [ $k -gt 0 ] && \
             exec $D/lgss_keyring --config $D/lgss.toml create $k lgssc 0@4 \
             4:krb5:0:0:r:i:1:0x20000c0a84d01:lustre-MDT0000-mdc-ff2d:0x0:1: 0 0 0 0 0",
        ),
        started("start the upcall without words", "exec $D/lgss_keyring"),
        started(
            "start the upcall for a key that is not there",
            "exec $D/lgss_keyring --config $D/lgss.toml create 77 user lgss:$U:nfs@localhost x $U $U 0 0 0",
        ),
        started(
            "start the upcall for a key of one's own",
            "k=$(keyctl add user lgss:1 x @u) && [ $k -gt 0 ] && \
             exec $D/lgss_keyring --config $D/lgss.toml create $k user lgss:$U:nfs@localhost x $U $U 0 0 0",
        ),
        started(
            "start the upcall with settings of one's own",
            "echo 'worker = \"/bin/sh\"' >$D/user/mine.toml; \
             exec $D/lgss_keyring --config $D/user/mine.toml create 77 user lgss:0:nfs@localhost x 0 0 0 0 0",
        ),
        started(
            "start the upcall with an empty name",
            "exec bash -c 'exec -a \"\" $D/lgss_keyring create 77 user d c 0 0 0 0 0'",
        ),
        started(
            "start the upcall with numbers beyond 32 bits",
            "exec $D/lgss_keyring create 4294967373 user d c 4294967296 0 0 0 0",
        ),
    ]
}

fn workers() -> Vec<Attack> {
    let started = |name, script| started("S13", 2, name, script);
    let denied = |rule, name: &str, script: &'static str| {
        Attack::checked(rule, name, "EACCES", move |scene| {
            let output = scene.run(script, &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            // Each of its lines.
            let denied = said.lines().all(|line| line.contains("Permission denied"));
            assert!(denied && !said.is_empty() && !output.status.success(), "{output:?}");
            assert!(output.stdout.is_empty(), "{output:?}");
        })
    };
    vec![
        started("start the worker by hand", "exec $D/lgss_negotiate"),
        started(
            "start the worker with messages of one's own",
            "exec $D/lgss_negotiate 3</dev/zero 4</dev/zero",
        ),
        started("start the worker with an endless pipe", "yes | exec $D/lgss_negotiate 3<&0 4<&0"),
        denied("S10", "read the worker's file", "cat $D/lgss_negotiate"),
        denied("S18", "list the directory of the upcalls", "ls $D/run/; cat $D/run/owners"),
        denied(
            "S18",
            "make files in the directory of the upcalls",
            "touch $D/run/owners; mkdir $D/run/machine; mv $D/run $D/gone",
        ),
    ]
}
