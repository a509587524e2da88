;; Keeps under its first byte what it is told, and says so.
(module
  (import "purlin.core.v1" "input" (func $input (param i32 i32) (result i32)))
  (import "purlin.storage.v1" "set" (func $set (param i32 i32 i32 i32)))
  (import "purlin.events.v1" "emit" (func $emit (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "told")
  (func (export "initialize"))
  (func (export "put") (local $n i32)
    (local.set $n (call $input (i32.const 1024) (i32.const 1000)))
    (if (i32.eqz (local.get $n)) (then unreachable))
    (call $set (i32.const 1024) (i32.const 1) (i32.const 1024) (local.get $n))
    (call $emit (i32.const 0) (i32.const 4) (i32.const 1024) (local.get $n))))
