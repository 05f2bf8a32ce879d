//! The installed programs started by hand: rules S3, S10 and S13.

use crate::attack::{Attack, Scene};
use std::fs;

pub(crate) fn attacks() -> Vec<Attack> {
    [upcalls(), workers()].into_iter().flatten().collect()
}

/// The script ends with an error of the program's, says nothing and leaves no new file in the directory of the upcalls.
fn expect_failure(scene: &Scene<'_>, script: &str) {
    let before = names(scene);
    let output = scene.run(script, &[]);
    assert!(!output.status.success(), "{script}: {output:?}");
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

fn upcalls() -> Vec<Attack> {
    let started = |name: &str, script: &'static str| {
        Attack::by_itself("S3", name, "an error, no effect", move |scene| expect_failure(scene, script))
    };
    vec![
        started("start the upcall without words", "exec $D/lgss_keyring"),
        started(
            "start the upcall for a key that is not there",
            "exec $D/lgss_keyring --config $D/lgss.toml create 77 user lgss:$U:nfs@localhost x $U $U 0 0 0",
        ),
        started(
            "start the upcall for a key of one's own",
            "k=$(perl -e 'print syscall(248, \"user\", \"lgss:1\", \"x\", 1, -4)') && \
             exec $D/lgss_keyring --config $D/lgss.toml create $k user lgss:$U:nfs@localhost x $U $U 0 0 0",
        ),
        started(
            "start the upcall with settings of one's own",
            "echo 'worker = \"/bin/sh\"' >$D/user/mine.toml; \
             exec $D/lgss_keyring --config $D/user/mine.toml create 77 user lgss:0:nfs@localhost x 0 0 0 0 0",
        ),
        started(
            "start the upcall with a library of one's own",
            "LD_PRELOAD=$D/user/evil.so exec $D/lgss_keyring --config $D/lgss.toml create 77 user d c 0 0 0 0 0",
        ),
        started(
            "start the upcall without its first word",
            "exec perl -e 'exec {\"$ENV{D}/lgss_keyring\"} \"\"'",
        ),
        started(
            "start the upcall without open files",
            "exec $D/lgss_keyring create 77 user d c 0 0 0 0 0 <&- >&- 2>&-",
        ),
        started(
            "start the upcall with numbers beyond 32 bits",
            "exec $D/lgss_keyring create 4294967373 user d c 4294967296 0 0 0 0",
        ),
    ]
}

fn workers() -> Vec<Attack> {
    let started = |name: &str, script: &'static str| {
        Attack::by_itself("S13", name, "an error, no effect", move |scene| expect_failure(scene, script))
    };
    vec![
        started("start the worker by hand", "exec $D/lgss_negotiate"),
        started(
            "start the worker with messages of one's own",
            "exec $D/lgss_negotiate 3</dev/zero 4</dev/zero",
        ),
        started("start the worker with an endless pipe", "yes | exec $D/lgss_negotiate 3<&0 4<&0"),
        Attack::by_itself("S10", "read the worker's file", "EACCES", |scene| {
            let output = scene.run("cat $D/lgss_negotiate", &[]);
            assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        }),
        Attack::by_itself("S18", "list the directory of the upcalls", "EACCES", |scene| {
            let output = scene.run("ls $D/run/; cat $D/run/*", &[]);
            assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        }),
        Attack::by_itself("S18", "make files in the directory of the upcalls", "EACCES", |scene| {
            let output = scene.run("touch $D/run/owners || mkdir $D/run/machine || mv $D/run $D/gone", &[]);
            assert!(!output.status.success(), "{output:?}");
        }),
    ]
}
