# find_package(kv CONFIG) defines kv::kv, the shared library, and kv::kv_static.
# All paths are relative to this file, so the installed tree can be moved as a whole.
get_filename_component(_kv_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET kv::kv)
  add_library(kv::kv SHARED IMPORTED)
  set_target_properties(kv::kv PROPERTIES
    IMPORTED_LOCATION "${_kv_prefix}/lib/libkv.so.0"
    IMPORTED_SONAME "libkv.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_kv_prefix}/include")
endif()

if(NOT TARGET kv::kv_static)
  add_library(kv::kv_static STATIC IMPORTED)
  set_target_properties(kv::kv_static PROPERTIES
    IMPORTED_LOCATION "${_kv_prefix}/lib/libkv.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_kv_prefix}/include"
    INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl;c")
endif()

unset(_kv_prefix)
