/* Makes a disk slow: every fsync and fdatasync of the process takes SLOW_SYNC_US longer. To be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_a_little(void) {
    const char *asked = getenv("SLOW_SYNC_US");
    usleep(asked ? (useconds_t)atoi(asked) : 5000);
}

int fsync(int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_a_little();
    return real(descriptor);
}

int fdatasync(int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_a_little();
    return real(descriptor);
}
