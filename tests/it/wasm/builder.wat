;; A builder by hand. The tests put core WebAssembly in the place of the last line of $Main, one hostile thing at a
;; time. How values lie in memory is the component model's canonical ABI: a result or a variant is its case and, 4 bytes
;; further, what the case holds; a string or a list is address and length.
(component
  (type $types-interface (instance
    (type $texts-r (record (field "bytes" (list u8)) (field "ends" (list u32))))
    (export "texts" (type $texts (eq $texts-r)))
    (type $cells-v (variant
      (case "booleans" (list u8)) (case "integers" (list s64)) (case "floats" (list f64))
      (case "texts" $texts) (case "json" $texts) (case "binary" $texts)))
    (export "cells" (type $cells (eq $cells-v)))
    (type $column-r (record (field "name" string) (field "nulls" (list u8)) (field "cells" $cells)))
    (export "column" (type $column (eq $column-r)))
    (type $table-r (record (field "count" u32) (field "columns" (list $column))))
    (export "table" (type $table (eq $table-r)))
    (type $rowset-v (variant (case "columns" $table) (case "json" string)))
    (export "rowset" (type $rowset (eq $rowset-v)))
    (type $query-r (record (field "name" string) (field "params" (list (option string)))))
    (export "query" (type $query (eq $query-r)))
    (type $affected-r (record (field "ids" (list string)) (field "queries" (list $query))))
    (export "affected" (type $affected (eq $affected-r)))
    (type $outcome-v (variant (case "document" string) (case "absent") (case "rejected" string)))
    (export "outcome" (type $outcome (eq $outcome-v)))
    (type $level-e (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level-e)))
  ))
  (import "docmill:builder/types@0.1.0" (instance $types (type $types-interface)))
  (alias export $types "rowset" (type $rowset))
  (alias export $types "query" (type $query))
  (alias export $types "affected" (type $affected))
  (alias export $types "outcome" (type $outcome))
  (alias export $types "level" (type $level))
  (import "docmill:builder/host@0.1.0" (instance $host
    (alias outer 1 $level (type $level-t))
    (export "level" (type $level (eq $level-t)))
    (export "config" (func (result string)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  (import "docmill:builder/source@0.1.0" (instance $source
    (alias outer 1 $query (type $query-t))
    (export "query" (type $query (eq $query-t)))
    (alias outer 1 $rowset (type $rowset-t))
    (export "rowset" (type $rowset (eq $rowset-t)))
    (export "run" (func (param "queries" (list $query)) (result (list $rowset))))))
  (alias export $host "config" (func $config-import))
  (alias export $host "log" (func $log-import))
  (alias export $source "run" (func $run-import))
  ;;IMPORTS;;

  (core module $Memory
    (memory (export "memory") 2)
    ;; What the host hands over begins behind the first page and is never freed: an instance lives for one call.
    (global $next (mut i32) (i32.const 0x10000))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 0x10000))))
        (br_if $fits (i32.ne (i32.const -1)
          (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))
        unreachable)
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $m))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $config (canon lower (func $config-import) (memory (core memory $m)) (realloc (core func $realloc))))
  (core func $log (canon lower (func $log-import) (memory (core memory $m))))
  (core func $run (canon lower (func $run-import) (memory (core memory $m)) (realloc (core func $realloc))))

  (core module $Main
    (import "memory" "memory" (memory 2))
    (import "host" "config" (func $config (param $answer i32)))
    (import "host" "log" (func $log (param $level i32) (param $text i32) (param $bytes i32)))
    (import "host" "run" (func $run (param $queries i32) (param $count i32) (param $answer i32)))
    (type $describe (func (result i32)))
    (type $resolve (func (param $index i32) (param $index-bytes i32) (param $table i32) (param $table-bytes i32)
      (param $form i32) (param i32) (param i32) (param i32) (result i32)))
    (type $assemble (func (param $index i32) (param $index-bytes i32) (param $ids i32) (param $count i32)
      (param $reads i32) (param $reads-count i32) (result i32)))
    ;; The answers lie at 0x100, texts at 0x1000 and 0x8000.
    (data (i32.const 0x8000) "DESCRIPTOR")
    ;; ok, with a text or a list.
    (func $ok (param $at i32) (param $size i32) (result i32)
      (i32.store (i32.const 0x100) (i32.const 0))
      (i32.store (i32.const 0x104) (local.get $at))
      (i32.store (i32.const 0x108) (local.get $size))
      (i32.const 0x100))
    ;; err, with a text.
    (func $err (param $at i32) (param $size i32) (result i32)
      (drop (call $ok (local.get $at) (local.get $size)))
      (i32.store (i32.const 0x100) (i32.const 1))
      (i32.const 0x100))
    ;; That many times the same outcome, which begins at 0x10000 when the call is over.
    (func $outcomes (param $count i32) (param $case i32) (param $text i32) (param $bytes i32) (result i32)
      (local $at i32) (local $left i32)
      (local.set $at (i32.const 0x400))
      (local.set $left (local.get $count))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (i32.store (local.get $at) (local.get $case))
          (i32.store offset=4 (local.get $at) (local.get $text))
          (i32.store offset=8 (local.get $at) (local.get $bytes))
          (local.set $at (i32.add (local.get $at) (i32.const 12)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next)))
      (call $ok (i32.const 0x400) (local.get $count)))
    ;; The answer of a resolve.
    (func $affected (param $ids i32) (param $ids-count i32) (param $queries i32) (param $queries-count i32) (result i32)
      (drop (call $ok (local.get $ids) (local.get $ids-count)))
      (i32.store (i32.const 0x10c) (local.get $queries))
      (i32.store (i32.const 0x110) (local.get $queries-count))
      (i32.const 0x100))
    ;;BODY;;
  )
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "config" (func $config)) (export "log" (func $log)) (export "run" (func $run))))))

  (alias core export $main "describe" (core func $main-describe))
  (alias core export $main "resolve" (core func $main-resolve))
  (alias core export $main "assemble" (core func $main-assemble))
  (func $describe (result (result string (error string)))
    (canon lift (core func $main-describe) (memory (core memory $m)) (realloc (core func $realloc))))
  (func $resolve (param "index" string) (param "table" string) (param "rows" $rowset)
      (result (result $affected (error string)))
    (canon lift (core func $main-resolve) (memory (core memory $m)) (realloc (core func $realloc))))
  (func $assemble (param "index" string) (param "ids" (list string)) (param "reads" (list $rowset))
      (result (result (list $outcome) (error string)))
    (canon lift (core func $main-assemble) (memory (core memory $m)) (realloc (core func $realloc))))
  (instance $guest
    (export "describe" (func $describe)) (export "resolve" (func $resolve)) (export "assemble" (func $assemble)))
  (export "docmill:builder/guest@0.1.0" (instance $guest))
)
