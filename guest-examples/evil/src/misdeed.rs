//! What it can be asked to do. Those of `describe` happen at every load; all others on documents whose id begins with `evil`,
//! and whoever shares a call with one.

use serde::Deserialize;

/// The pipeline's `config = { misdeed = "..." }`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Misdeed {
    /// A good builder.
    #[serde(rename = "none")]
    None,

    #[serde(rename = "endless loop in describe")]
    EndlessLoopInDescribe,
    #[serde(rename = "panic in describe")]
    PanicInDescribe,
    #[serde(rename = "allocate in describe")]
    AllocateInDescribe,
    /// `source.run`, which only `assemble` may.
    #[serde(rename = "read in describe")]
    ReadInDescribe,
    #[serde(rename = "describe 100,000 tables")]
    DescribeManyTables,

    #[serde(rename = "endless loop in resolve")]
    EndlessLoopInResolve,
    #[serde(rename = "panic in resolve")]
    PanicInResolve,
    #[serde(rename = "read in resolve")]
    ReadInResolve,
    #[serde(rename = "empty id")]
    EmptyId,
    /// One byte longer than search engines take.
    #[serde(rename = "over-long id")]
    OverLongId,
    /// An id that would end its line of a bulk request and begin a deletion.
    #[serde(rename = "bulk action in id")]
    BulkActionInId,
    /// Each id a thousand times.
    #[serde(rename = "duplicate ids")]
    DuplicateIds,
    /// 100,001 ids for one row.
    #[serde(rename = "too many ids")]
    TooManyIds,
    /// Ids that no row makes.
    #[serde(rename = "ids of no row")]
    IdsOfNoRow,
    #[serde(rename = "undeclared query in resolve")]
    UndeclaredQueryInResolve,
    /// 65 queries in one answer.
    #[serde(rename = "too many queries")]
    TooManyQueries,
    /// A declared query that yields ten million ids.
    #[serde(rename = "ten million ids")]
    TenMillionIds,

    #[serde(rename = "endless loop in assemble")]
    EndlessLoopInAssemble,
    /// Most of the CPU budget, and then a good answer.
    #[serde(rename = "use up the budget")]
    UseUpTheBudget,
    #[serde(rename = "allocate in assemble")]
    AllocateInAssemble,
    #[serde(rename = "deep recursion")]
    DeepRecursion,
    #[serde(rename = "divide by zero")]
    DivideByZero,
    #[serde(rename = "abort")]
    Abort,
    #[serde(rename = "panic in assemble")]
    PanicInAssemble,
    #[serde(rename = "error in assemble")]
    ErrorInAssemble,
    #[serde(rename = "too many outcomes")]
    TooManyOutcomes,
    #[serde(rename = "too few outcomes")]
    TooFewOutcomes,

    #[serde(rename = "invalid UTF-8")]
    InvalidUtf8,
    #[serde(rename = "invalid JSON")]
    InvalidJson,
    #[serde(rename = "no object")]
    NoObject,
    /// A good document, and behind it a line that deletes another.
    #[serde(rename = "bulk action behind the document")]
    BulkActionBehindTheDocument,
    /// Line breaks where JSON allows them.
    #[serde(rename = "line breaks in the document")]
    LineBreaksInTheDocument,
    /// A document that names another index and another id.
    #[serde(rename = "metadata in the document")]
    MetadataInTheDocument,
    /// 100,000 levels.
    #[serde(rename = "deep document")]
    DeepDocument,
    /// 2,000 fields that the mapping does not name.
    #[serde(rename = "many fields")]
    ManyFields,
    /// A keyword of 40,000 bytes.
    #[serde(rename = "immense term")]
    ImmenseTerm,
    /// 9 MiB.
    #[serde(rename = "large document")]
    LargeDocument,
    /// 20 MiB.
    #[serde(rename = "huge answer")]
    HugeAnswer,
    /// 6 MiB, which is allowed.
    #[serde(rename = "enormous and valid")]
    EnormousAndValid,
    /// All that it could draw chance or memory from.
    #[serde(rename = "another document each time")]
    AnotherDocumentEachTime,
    /// A document that says how many ids its call had.
    #[serde(rename = "tells its company")]
    TellsItsCompany,

    /// 2,000 lines that would steer a terminal and forge lines; then a good answer.
    #[serde(rename = "flood of log lines")]
    FloodOfLogLines,
    /// The same, and then a panic.
    #[serde(rename = "flood of log lines and panic")]
    FloodAndPanic,

    #[serde(rename = "undeclared query in assemble")]
    UndeclaredQueryInAssemble,
    #[serde(rename = "read without end")]
    ReadWithoutEnd,
    /// A declared query that yields ten million rows.
    #[serde(rename = "ten million rows")]
    TenMillionRows,
    /// A declared query whose parameter is not of its type.
    #[serde(rename = "wrong parameter")]
    WrongParameter,
}
