//! The contract of the store traits as test suites: every implementation is held to the same.
