use lgss::class::Private;

#[derive(serde::Serialize)]
struct Record {
    uid: u32,
    principal: Private<String>,
}

fn main() {}
