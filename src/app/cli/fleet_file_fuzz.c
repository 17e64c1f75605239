/* A list of devices: what is read is within all limits, and what is refused says a line. */
#include <assert.h>

#include "app/cli/fleet_file.h"
#include "core/principal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *rows = NULL;
    struct why why = {{0}};
    enum err e = fleet_file_read(slice_of(data, n), &rows, &why);
    if (e != OK) {
        assert(e == ERR_NOMEM || strncmp(why.text, "line ", 5) == 0);
        return 0;
    }
    assert(json_array_size(rows) > 0 && json_array_size(rows) <= FLEET_ROWS_MAX);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        assert(principal_name_ok(slice_text(json_string_value(json_object_get(row, "name")))));
        assert(json_object_size(json_object_get(row, "attrs")) <= PRINCIPAL_ATTRS_MAX);
    }
    json_decref(rows);
    return 0;
}
