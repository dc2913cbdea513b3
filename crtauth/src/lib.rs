//! The challenge-response protocol of crtauth, versions 0 and 1, and our version 2: codecs and state, pure.

#![forbid(unsafe_code)]
