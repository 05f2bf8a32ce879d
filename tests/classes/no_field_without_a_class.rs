use lgss::class::classes;

#[derive(serde::Serialize)]
struct Message {
    name: String,
    detail: String,
}

classes!(Message { name: public });

fn main() {}
