/* The JavaScript kit: an ES module whose exported functions become the exports of an Extism plugin.
 *
 * The build generates one C file for each plugin. It defines what is declared here as `extern`, and one exported
 * function for each node, whose body is `return innkeeper_call(INDEX);`.
 */
#ifndef INNKEEPER_JAVASCRIPT_GUEST_H
#define INNKEEPER_JAVASCRIPT_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* The script's source, followed by a NUL that the length does not count. */
extern const char innkeeper_script[];
extern const size_t innkeeper_script_length;

/* What error messages call the script. */
extern const char innkeeper_script_name[];

/* Names of the functions that the script must export, in the order of their indexes. */
extern const char *const innkeeper_functions[];
extern const size_t innkeeper_function_count;

/* Gives the script what its capabilities are for, before it is evaluated; 0, or -1 with a pending exception. */
int innkeeper_equip(JSContext *context);

/* Runs one of the functions on this call's input: 0, or 1 after `error_set`. */
int32_t innkeeper_call(size_t index);

#endif
