//! stub
pub struct ScratchCipher;
