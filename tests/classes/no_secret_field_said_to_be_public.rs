use lgss::class::classes;
use lgss::secret::Secret;

struct Message {
    key: Secret,
}

classes!(Message { key: public });

fn main() {}
