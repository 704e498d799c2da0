//! libkv for Python: the native part.
