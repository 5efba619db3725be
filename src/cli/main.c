/* cli/main.c - the process around command_main. */
#include "base/progress.h"
#include "cli/command.h"

#include <stdlib.h>
#include <unistd.h>

/* libgomp reads its spin count when it is loaded, and its default ruins shared cores: a waiting thread burns the time
 * of the one it waits for. So the command starts itself once more with a short spin, unless the user has chosen. */
static void tame_openmp(char **argv) {
#if defined(PITH_OPENMP) && defined(__linux__)
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0) execv("/proc/self/exe", argv);
#else
    (void)argv;
#endif
}

int main(int argc, char **argv) {
    tame_openmp(argv);
    interrupt_install();
    return command_main(argc, argv);
}
