//! What a trial says when it is over, and when something is wrong.

use super::trial::Trial;
use crate::support::shop::ShopDocuments;
use std::fmt::Write;

/// Lines of docmill's log in a failure.
const LOG_LINES: usize = 60;
/// Documents whose versions are told, of each index.
const SHOWN_MAX: usize = 5;

/// Every figure of a trial that went well.
pub fn figures(trial: &Trial) -> String {
    let Trial { counts, rounds, slowest: (equal, confirmed), .. } = trial;
    let (lives, by_itself) = trial.process.lives();
    let mut text = format!(
        "chaos: seed {}, {} s in {rounds} rounds: {counts}\nchaos: by kind: {:?}\nchaos: faults: ",
        trial.setting.seed, trial.setting.seconds, counts.rows
    );
    let faults = trial.journal.faults();
    let _ = write!(text, "{}: ", faults.values().sum::<u32>());
    let _ =
        write!(text, "{}", faults.iter().map(|(kind, times)| format!("{times} {kind}")).collect::<Vec<_>>().join(", "));
    let _ = write!(
        text,
        "\nchaos: differences 0 after every round; equal {equal:.1?} and confirmed {confirmed:.1?} after the last write at most; \
         peak memory {} MiB over {lives} lives, of which {by_itself} ended by themselves",
        trial.process.peak_mib()
    );
    text
}

/// Everything that helps to find out why.
pub fn failure(trial: &Trial, what: &str) -> String {
    let log = trial.process.log();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    let kept = trial.process.keep_log();
    format!(
        "DOCMILL_CHAOS_SEED={} DOCMILL_CHAOS_SECONDS={}: {what}\n\nwhat happened:\n{}\n\nthe end of docmill's log, {kept}:\n{tail}\n",
        trial.setting.seed,
        trial.setting.seconds,
        trial.journal.text()
    )
}

/// The versions of the first documents that differ, as history and position.
pub async fn versions(trial: &Trial) -> String {
    let expected = ShopDocuments::from_sql(&trial.database.url).await;
    let found = ShopDocuments::from_opensearch(&trial.search).await;
    let mut text = String::new();
    for (index, expected, found) in
        [("users", &expected.users, &found.users), ("products", &expected.products, &found.products)]
    {
        let versions = trial.search.versions(index).await.unwrap_or_default();
        let ids = expected.keys().chain(found.keys().filter(|id| !expected.contains_key(*id)));
        for id in ids.filter(|id| expected.get(*id) != found.get(*id)).take(SHOWN_MAX) {
            match versions.get(id) {
                None => {
                    let _ = writeln!(text, "{index}/{id}: not in the index");
                }
                Some(version) => {
                    let (history, position) = (version >> 55, version & ((1 << 55) - 1));
                    let _ =
                        writeln!(text, "{index}/{id}: history {history}, {:X}/{:X}", position >> 32, position as u32);
                }
            }
        }
    }
    text
}
