/* Included ahead of quickjs.c. Its checks for stack overflow compare the address of a function's frame with a limit.
 * In WebAssembly that frame holds only what has an address; a function without any recurses without moving it, until
 * the engine's own stack ends in a trap. With this each function that checks has a frame of at least this many bytes,
 * so that nested JSON, for one, is a RangeError that the script can catch. */
#define __builtin_frame_address(level) __builtin_alloca(144)
