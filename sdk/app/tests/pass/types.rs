//! Types in every form.
use purlin_sdk::prelude::*;

#[derive(Schema)]
struct Nothing;

#[derive(Schema)]
struct Wrapped(u64);

#[derive(Schema)]
struct Page<T> {
    items: Vec<T>,
    next: Option<Wrapped>,
    r#type: u8,
}

#[derive(Schema)]
enum Either<A, B> {
    Left(A),
    Right { value: B, nothing: Nothing },
    Neither,
}

#[derive(AppError)]
enum Refusal {
    /// no
    No,
    #[error("{0} is more than {1}")]
    More(u8, u8),
    #[error("not {what:?}", code = 9)]
    Not { what: String },
}

type Outcome<T> = Result<T, Refusal>;

#[derive(State)]
struct Empty;

#[app]
impl Empty {
    #[call]
    fn send(&mut self, page: Page<(u8, [u8; 4])>, arguments: Either<u8, String>) -> Outcome<Page<Either<u8, u8>>> {
        let Either::Left(limit) = arguments else { return Err(Refusal::No) };
        match page.items.len() as u8 {
            0 => Err(Refusal::Not { what: String::new() }),
            count if count > limit => Err(Refusal::More(count, limit)),
            _ => Ok(Page { items: vec![Either::Neither], next: page.next, r#type: page.r#type }),
        }
    }
}

/// Another application's view of it.
#[derive(State)]
struct Other;

#[app]
impl Other {
    #[call]
    fn relay(&mut self, app: AppId) -> bool {
        let page = Page { items: Vec::new(), next: None, r#type: 1 };
        EmptyClient::at(app).with_gas(Gas::new(1_000)).send(page, Either::Neither).is_ok()
    }
}

fn main() {}
