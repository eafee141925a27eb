/* ops_body.h with one lane: the reference. */
#define OPS_TABLE ops_scalar
#include "num/ops_body.h"
