use super::*;

#[test]
fn a_detail_cannot_forge_a_second_log_line_or_flood_the_log() {
    let failure =
        Failure::new(Stage::Kdc, Cause::KdcDown, format!("a\nlgss: forged\x1b[2J{}", "é".repeat(900)));
    assert!(!failure.detail.contains(['\n', '\x1b']));
    assert!(failure.detail.len() <= DETAIL_LIMIT);
}
