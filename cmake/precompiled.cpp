// Empty: CMake wants a source in a target that only holds a precompiled header (kvasir_precompile).
