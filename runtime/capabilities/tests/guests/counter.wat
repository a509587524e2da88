;; counter.c, compiled as its first lines say (clang 14) and printed as text.
(module
  (type (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32 i32 i32 i32) (result i32)))
  (type (;2;) (func (param i32 i32 i32 i32 i32)))
  (type (;3;) (func (param i32 i32 i32 i32)))
  (type (;4;) (func (param i32 i32)))
  (type (;5;) (func))
  (import "purlin.core.v1" "input" (func (;0;) (type 0)))
  (import "purlin.storage.v1" "get" (func (;1;) (type 1)))
  (import "purlin.core.v1" "fail" (func (;2;) (type 2)))
  (import "purlin.storage.v1" "set" (func (;3;) (type 3)))
  (import "purlin.events.v1" "emit" (func (;4;) (type 3)))
  (import "purlin.core.v1" "output" (func (;5;) (type 4)))
  (table (;0;) 1 1 funcref)
  (memory (;0;) 1)
  (global (;0;) (mut i32) i32.const 16384)
  (export "memory" (memory 0))
  (export "increment" (func 6))
  (export "query_count" (func 7))
  (func (;6;) (type 5)
    (local i32 i64 i64)
    global.get 0
    i32.const 16
    i32.sub
    local.tee 0
    global.set 0
    local.get 0
    i64.const 0
    i64.store
    local.get 0
    i32.const 8
    call 0
    drop
    local.get 0
    i64.const 0
    i64.store offset=8
    i32.const 16409
    i32.const 5
    local.get 0
    i32.const 8
    i32.add
    i32.const 8
    call 1
    drop
    local.get 0
    local.get 0
    i64.load
    local.tee 1
    local.get 0
    i64.load offset=8
    i64.add
    local.tee 2
    i64.store offset=8
    block ;; label = @1
      local.get 2
      local.get 1
      i64.ge_u
      br_if 0 (;@1;)
      i32.const 1
      i32.const 16384
      i32.const 24
      i32.const 0
      i32.const 0
      call 2
    end
    i32.const 16409
    i32.const 5
    local.get 0
    i32.const 8
    i32.add
    i32.const 8
    call 3
    i32.const 16415
    i32.const 11
    local.get 0
    i32.const 8
    i32.add
    i32.const 8
    call 4
    local.get 0
    i32.const 8
    i32.add
    i32.const 8
    call 5
    local.get 0
    i32.const 16
    i32.add
    global.set 0
  )
  (func (;7;) (type 5)
    (local i32)
    global.get 0
    i32.const 16
    i32.sub
    local.tee 0
    global.set 0
    local.get 0
    i64.const 0
    i64.store offset=8
    i32.const 16409
    i32.const 5
    local.get 0
    i32.const 8
    i32.add
    i32.const 8
    call 1
    drop
    local.get 0
    local.get 0
    i64.load offset=8
    i64.store
    local.get 0
    i32.const 8
    call 5
    local.get 0
    i32.const 16
    i32.add
    global.set 0
  )
  (data (;0;) (i32.const 16384) "the count would overflow\00count\00incremented\00")
)
