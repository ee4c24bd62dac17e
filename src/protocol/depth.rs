//! How deep a JSON text is nested, found without parsing it.

/// Whether more than `max` arrays and objects are open at once somewhere in the text.
pub fn exceeds(body: &[u8], max: usize) -> bool {
    let _ = (body, max);
    unimplemented!()
}
