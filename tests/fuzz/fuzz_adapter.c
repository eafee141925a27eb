/* adapter_config.json. What is accepted must be written as something that reads as the same. */
#include "model/model_int.h"

#include <stdlib.h>
#include <string.h>

static void write_and_read(const struct adapter_meta *meta) {
    struct err err;
    struct adapter_meta again;
    json_t *config = adapter_config_write(meta), *record = adapter_record_write(meta);
    if (!config || !record || adapter_config_read(config, "written", &again, &err) != 0) abort();
    if (again.rank != meta->rank || again.alpha != meta->alpha || again.rslora != meta->rslora ||
        again.targets != meta->targets || strcmp(again.base_path, meta->base_path) != 0)
        abort();
    json_decref(config);
    json_decref(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct err err;
    struct adapter_meta meta = {0};
    json_t *config = NULL;
    if (json_read((struct str){(const char *)data, n}, "adapter", &config, &err) != 0) return 0;
    if (adapter_config_read(config, "adapter", &meta, &err) == 0) write_and_read(&meta);
    json_decref(config);
    return 0;
}
