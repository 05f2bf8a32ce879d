use lgss::class::classes;

#[derive(serde::Serialize)]
enum Message {
    Begun { name: String },
    Ended { detail: String },
}

classes!(Message { Begun { name: public } });

fn main() {}
