/* sallyport - one binary: the command line, and under a hidden first argument the broker, the
 * signer, the scribe or the courier. */
#include "app/cli/cli.h"
#include "app/daemon/broker.h"
#include "app/daemon/courier_main.h"
#include "app/daemon/scribe_main.h"
#include "app/daemon/signer_main.h"
#include "app/daemon/supervisor.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], SUPERVISOR_BROKER_FLAG) == 0) {
        return broker_main();
    }
    if (argc == 2 && strcmp(argv[1], SUPERVISOR_SIGNER_FLAG) == 0) {
        return signer_main();
    }
    if (argc == 2 && strcmp(argv[1], SUPERVISOR_COURIER_FLAG) == 0) {
        return courier_main();
    }
    if (argc == 2 && strcmp(argv[1], SUPERVISOR_SCRIBE_FLAG) == 0) {
        return scribe_main();
    }
    return cli_main(argc, argv);
}
