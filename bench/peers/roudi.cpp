/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See roudi.h. */

#include "roudi.h"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_hoofs/posix_wrapper/posix_access_rights.hpp>
#include <iceoryx_posh/internal/roudi/roudi.hpp>
#include <iceoryx_posh/roudi/iceoryx_roudi_components.hpp>

namespace {

constexpr const char *no_namespace =
    "no mount namespace of its own: iceoryx needs one, as its names in /tmp and /dev/shm are fixed (be root, or allow user namespaces)";

int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return written == static_cast<ssize_t>(strlen(text)) ? 0 : -1;
}

/* Who is not root gets the right to mount from a user namespace, in which it stays who it is. */
int become_own_user() {
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -1;
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (write_file("/proc/self/uid_map", map) < 0 || write_file("/proc/self/setgroups", "deny") < 0)
        return -1;
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", map);
}

int enclose(bool *ret_own_user) {
    bool own_user = unshare(CLONE_NEWNS) < 0;
    if (own_user && become_own_user() < 0)
        return -1;
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
        return -1;
    *ret_own_user = own_user;
    return 0;
}

[[noreturn]] void serve(size_t size, unsigned chunks, int ready, roudi_process &answer) {
    using namespace iox;
    log::LogManager::GetLogManager().SetDefaultLogLevel(log::LogLevel::kOff, log::LogLevelOutput::kHideLogLevel);
    mepoo::MePooConfig pool;
    pool.addMemPool({ static_cast<uint32_t>((size + 8) / 8 * 8), chunks });
    auto group = posix::PosixGroup::getGroupOfCurrentProcess().getName();
    RouDiConfig_t config;
    config.m_sharedMemorySegments.push_back({ group, group, pool });
    roudi::IceOryxRouDiComponents components(config);
    /* nobody to watch over or to kill: that is the bench's own work */
    roudi::RouDi::RoudiStartupParameters how(roudi::MonitoringMode::OFF, false);
    roudi::RouDi daemon(components.rouDiMemoryManager, components.portManager, how);
    if (write(ready, &answer, sizeof answer) != static_cast<ssize_t>(sizeof answer))
        _exit(1);
    for (;;)
        pause();
}

/* It tells of its progress on both. */
void hush() {
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0))
        _exit(1);
}

[[noreturn]] void live(size_t size, unsigned chunks, int ready, pid_t parent) {
    roudi_process answer = { getpid(), false };
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    hush();
    bool enclosed = enclose(&answer.own_user) == 0;
    prctl(PR_SET_DUMPABLE, 1); /* a new user namespace took it, and with it who may enter */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!enclosed || getppid() != parent)
        _exit(1);
    serve(size, chunks, ready, answer);
}

int enter(pid_t pid, const char *kind, int type) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", static_cast<int>(pid), kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -1 : setns(fd, type);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return r < 0 ? -error : 0;
}

} // namespace

int roudi_start(size_t size, unsigned chunks, roudi_process *ret_roudi, const char **ret_reason) {
    int ready[2];
    roudi_process answer = {};
    if (pipe2(ready, O_CLOEXEC) < 0)
        return -errno;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        live(size, chunks, ready[1], parent);
    close(ready[1]);
    ssize_t got = -1;
    while (pid > 0 && (got = read(ready[0], &answer, sizeof answer)) < 0 && errno == EINTR)
        ;
    close(ready[0]);
    if (got == static_cast<ssize_t>(sizeof answer)) {
        *ret_roudi = answer;
        return 0;
    }
    answer.pid = pid;
    roudi_stop(answer);
    *ret_reason = no_namespace;
    return -EPERM;
}

int roudi_enter(const roudi_process &process, const char **ret_reason) {
    int r = process.own_user ? enter(process.pid, "user", CLONE_NEWUSER) : 0;
    if (r == 0)
        r = enter(process.pid, "mnt", CLONE_NEWNS);
    if (r < 0)
        *ret_reason = no_namespace;
    return r;
}

void roudi_stop(roudi_process &process) {
    if (process.pid <= 0)
        return;
    kill(process.pid, SIGKILL);
    while (waitpid(process.pid, nullptr, 0) < 0 && errno == EINTR)
        ;
    process.pid = 0;
}
