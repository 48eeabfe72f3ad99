//! Follows references and checks grants; compiles nothing.
