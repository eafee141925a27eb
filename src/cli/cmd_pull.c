/* attune pull: fetch a model and take it in under a short name. */
#include "cli/cli.h"
#include "cli/opts.h"
