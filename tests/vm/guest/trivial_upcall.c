/*
 * An upcall that follows a plan, for scenarios about the kernel's side: no Kerberos, no decisions.
 *
 * The plan is PLAN, one step per line; each step appends one line to LOG, fields separated by tabs:
 *   look                    who asks: the line of the authorisation key, that task's `syscall` and the first of its
 *                           environment; the key; the session ring; namespaces
 *   describe-ring           the thread keyring of argv
 *   as UID GID              effective and real ids, the saved ones stay 0; `as 0 0` goes back
 *   setperm HEX
 *   instantiate RING [HEX]  RING is a special id, 0, or `session` for the positive id of the session ring
 *   reject SECONDS ERRNO
 *   update HEX              at once; `-` for an empty payload
 *   update-until HEX MS     again while it answers EAGAIN, for so long
 *   unlink RING
 *   fork                    the parent exits, the child goes on in a session of its own
 *   wait PATH               until the file is there
 *   exit CODE
 */
#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLAN "/run/trivial-upcall.plan"
#define LOG "/run/trivial-upcall.log"

static key_serial_t key, authority;
static char **words;

/* One write, so that lines of several upcalls do not mix. */
static void note(const char *step, const char *fields)
{
	static char line[16384];
	int log = open(LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	int len = snprintf(line, sizeof line, "%d\tkey=%d\tstep=%s\t%s\n", getpid(), key, step, fields);

	if (log < 0 || write(log, line, (size_t)len) != len)
		_exit(99);
	close(log);
}

static void note_result(const char *step, long rc)
{
	char fields[64];

	snprintf(fields, sizeof fields, "rc=%ld\terrno=%d", rc, rc < 0 ? errno : 0);
	note(step, fields);
}

static size_t unhex(const char *hex, unsigned char *to, size_t size)
{
	size_t len = 0;
	unsigned int byte;

	while (len < size && sscanf(hex + 2 * len, "%2x", &byte) == 1)
		to[len++] = (unsigned char)byte;
	return len;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

static void read_line(const char *path, char *to, int size)
{
	FILE *file = fopen(path, "r");

	if (!file || !fgets(to, size, file))
		snprintf(to, (size_t)size, "errno %d", errno);
	to[strcspn(to, "\n")] = 0;
	if (file)
		fclose(file);
}

/* Namespaces of the requester and, with the prefix own_, of this process. */
static void note_namespaces(int tid, char *fields, size_t size)
{
	static const char *const names[] = { "mnt", "net", "user" };
	char path[64], target[64];
	size_t i, at = strlen(fields);
	ssize_t len;

	for (i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "/proc/%d/ns/%s", i < 3 ? tid : getpid(), names[i % 3]);
		len = readlink(path, target, sizeof target - 1);
		target[len < 0 ? 0 : len] = 0;
		at += (size_t)snprintf(fields + at, size - at, "\t%s%s=%s", i < 3 ? "" : "own_", names[i % 3], target);
	}
}

static void look(void)
{
	char wanted[16], line[512], auth[512] = "", mine[512] = "", path[64], call[256] = "", environ_of[256] = "", fields[3200];
	char *described = NULL, *ring = NULL;
	FILE *keys = fopen("/proc/keys", "r");
	int tid = 0, i, at;
	const char *pid;

	snprintf(wanted, sizeof wanted, "%08x ", (unsigned int)authority);
	while (keys && fgets(line, sizeof line, keys)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, wanted, 9))
			strcpy(auth, line);
		if ((key_serial_t)strtoul(line, NULL, 16) == key)
			strcpy(mine, line);
	}
	if (keys)
		fclose(keys);
	pid = strstr(auth, " pid:");
	if (pid)
		tid = atoi(pid + 5);
	snprintf(path, sizeof path, "/proc/%d/syscall", tid);
	read_line(path, call, sizeof call);
	snprintf(path, sizeof path, "/proc/%d/environ", tid);
	read_line(path, environ_of, sizeof environ_of);
	keyctl_describe_alloc(key, &described);
	keyctl_describe_alloc(KEY_SPEC_SESSION_KEYRING, &ring);
	at = snprintf(fields, sizeof fields, "tid=%d\tsyscall=%s\tenviron=%s\tauth=%s\tline=%s\tdescribed=%s\tring=%s", tid, call,
		      environ_of, auth, mine, described ? described : "-", ring ? ring : "-");
	for (i = 1; words[i] && at < 2400; i++)
		at += snprintf(fields + at, 2400 - (size_t)at, "\targ%d=%s", i, words[i]);
	note_namespaces(tid, fields, sizeof fields);
	note("look", fields);
}

static void describe_ring(void)
{
	char fields[256], *described = NULL;

	if (keyctl_describe_alloc(atoi(words[8]), &described) < 0)
		described = strdup(strerror(errno));
	snprintf(fields, sizeof fields, "is=%s", described);
	note("describe-ring", fields);
}

static key_serial_t ring_named(const char *name)
{
	return strcmp(name, "session") ? atoi(name) : keyctl_get_keyring_ID(KEY_SPEC_SESSION_KEYRING, 0);
}

static void update(const char *step, const char *hex, long limit_ms)
{
	unsigned char payload[4096];
	size_t len = unhex(hex, payload, sizeof payload);
	long start = now_ms(), rc, tries = 0;
	char fields[96];

	do {
		if (tries++)
			pause_ms(1);
		rc = keyctl_update(key, payload, len);
	} while (rc < 0 && errno == EAGAIN && now_ms() - start < limit_ms);
	snprintf(fields, sizeof fields, "rc=%ld\terrno=%d\ttries=%ld\tms=%ld", rc, rc < 0 ? errno : 0, tries, now_ms() - start);
	note(step, fields);
}

static void obey(char *line)
{
	char *verb = strtok(line, " "), *first = strtok(NULL, " "), *second = strtok(NULL, " ");
	unsigned char payload[4096];
	long start = now_ms();

	if (!verb)
		return;
	if (!strcmp(verb, "look")) {
		look();
	} else if (!strcmp(verb, "describe-ring")) {
		describe_ring();
	} else if (!strcmp(verb, "as")) {
		if (getuid())
			note_result("as", setresuid(0, 0, 0));
		if (atoi(first))
			note_result("as", setresgid((gid_t)atoi(second), (gid_t)atoi(second), 0) ?:
					  setresuid((uid_t)atoi(first), (uid_t)atoi(first), 0));
	} else if (!strcmp(verb, "setperm")) {
		note_result(verb, keyctl_setperm(key, (key_perm_t)strtoul(first, NULL, 16)));
	} else if (!strcmp(verb, "instantiate")) {
		size_t len = second ? unhex(second, payload, sizeof payload) : 0;

		note_result(verb, keyctl_instantiate(key, len ? payload : NULL, len, ring_named(first)));
	} else if (!strcmp(verb, "reject")) {
		note_result(verb, keyctl_reject(key, (unsigned int)atoi(first), (unsigned int)atoi(second), 0));
	} else if (!strcmp(verb, "update")) {
		update(verb, first, 0);
	} else if (!strcmp(verb, "update-until")) {
		update(verb, first, atol(second));
	} else if (!strcmp(verb, "unlink")) {
		note_result(verb, keyctl_unlink(key, ring_named(first)));
	} else if (!strcmp(verb, "fork")) {
		if (fork())
			_exit(0);
		setsid();
	} else if (!strcmp(verb, "wait")) {
		while (access(first, F_OK) && now_ms() - start < 60000)
			pause_ms(5);
		note_result("wait", access(first, F_OK));
	} else if (!strcmp(verb, "exit")) {
		_exit(atoi(first));
	} else {
		note("unknown", verb);
	}
}

int main(int argc, char **argv)
{
	char plan[8192], *line, *rest = plan;
	int file = open(PLAN, O_RDONLY | O_CLOEXEC);
	ssize_t len = file < 0 ? -1 : read(file, plan, sizeof plan - 1);

	if (argc != 11 || len < 0)
		return 98;
	close(file);
	plan[len] = 0;
	words = argv;
	umask(0);
	key = atoi(argv[2]);
	authority = (key_serial_t)keyctl_assume_authority(key);
	while ((line = strsep(&rest, "\n")))
		obey(line);
	return 0;
}
