// A guest in Go for `innkeeper bench`: what starting Go costs, and a call once it has started.
package main

import (
	"encoding/binary"
	"encoding/json"
)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(at uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(at uint64) uint64

//go:wasmimport extism:host/env alloc
func alloc(length uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(at uint64, value uint32)

//go:wasmimport extism:host/env store_u64
func storeU64(at uint64, value uint64)

//go:wasmimport extism:host/env output_set
func outputSet(at uint64, length uint64)

func input() []byte {
	length := inputLength()
	data := make([]byte, length)
	at := uint64(0)
	for ; at+8 <= length; at += 8 {
		binary.LittleEndian.PutUint64(data[at:], inputLoadU64(at))
	}
	for ; at < length; at++ {
		data[at] = byte(inputLoadU8(at))
	}
	return data
}

func output(data []byte) {
	length := uint64(len(data))
	block := alloc(length)
	at := uint64(0)
	for ; at+8 <= length; at += 8 {
		storeU64(block+at, binary.LittleEndian.Uint64(data[at:]))
	}
	for ; at < length; at++ {
		storeU8(block+at, uint32(data[at]))
	}
	outputSet(block, length)
}

//go:wasmexport echo
func echo() int32 {
	output(input())
	return 0
}

// The input's JSON document with sorted keys and no spaces.
//
//go:wasmexport tidy
func tidy() int32 {
	var value any
	if json.Unmarshal(input(), &value) != nil {
		return 1
	}
	data, err := json.Marshal(value)
	if err != nil {
		return 2
	}
	output(data)
	return 0
}

func main() {}
