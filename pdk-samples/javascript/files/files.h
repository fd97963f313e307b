/* Reading files that the operator granted, for scripts: `innkeeper.readFile(path)`. */
#ifndef INNKEEPER_JAVASCRIPT_FILES_H
#define INNKEEPER_JAVASCRIPT_FILES_H

#include "quickjs.h"

/* Adds to the global object `innkeeper`; 0, or -1 with a pending exception. */
int innkeeper_define_files(JSContext *context);

#endif
