//! TLS: one connection string means the same for both clients.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::support::postgres::private;

/// A certificate authority in `directory`, and a certificate of it for localhost.
fn certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let arguments = arguments.split(' ').map(|argument| argument.replace("/DIR", &directory.to_string_lossy()));
        let output = Command::new("openssl").args(arguments).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for name in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} \
             -keyout /DIR/{name}.key -out /DIR/{name}.crt"
        ));
    }
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout /DIR/server.key \
         -out /DIR/server.csr",
    );
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(
        "x509 -req -in /DIR/server.csr -CA /DIR/ca.crt -CAkey /DIR/ca.key -CAcreateserial -days 2 -extfile /DIR/names \
         -out /DIR/server.crt",
    );
}

/// A server that speaks TLS, with its certificates.
async fn server() -> (docmill::embedded::EmbeddedPostgres, PathBuf) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let server = private(&[]).await;
    let data = server.data();
    certificates(&data);
    let owner = std::fs::metadata(&data).unwrap();
    for file in ["server.key", "server.crt"] {
        chown(data.join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
        std::fs::set_permissions(data.join(file), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let client = crate::support::postgres::connect(&server.url()).await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    client.batch_execute("alter system set ssl = on").await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    (server, data)
}

#[tokio::test]
async fn every_sslmode_means_the_same_for_statements_and_for_the_stream() {
    let (server, data) = server().await;
    let client = crate::support::postgres::connect(&server.url()).await;
    let ca = format!("sslrootcert={}", data.join("ca.crt").display());
    let other = format!("sslrootcert={}", data.join("other.crt").display());
    let encrypted = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
                     where application_name = 'docmill'";
    for (host, parameters, expected) in [
        ("localhost", "sslmode=disable".to_owned(), Some(false)),
        ("localhost", String::new(), Some(true)),
        ("127.0.0.1", "sslmode=require".to_owned(), Some(true)),
        ("localhost", format!("sslmode=verify-full&{ca}"), Some(true)),
        ("localhost", format!("sslmode=verify-ca&{ca}"), Some(true)),
        // Stricter than libpq: pgwire-replication 0.5 looks at the name in this mode, too.
        ("127.0.0.1", format!("sslmode=verify-ca&{ca}"), None),
        ("127.0.0.1", format!("sslmode=verify-full&{ca}"), None),
        ("localhost", format!("sslmode=verify-full&{other}"), None),
        ("localhost", format!("sslmode=verify-ca&{other}"), None),
        ("localhost", format!("sslmode=require&{other}"), None),
        ("localhost", "sslmode=verify-full".to_owned(), None),
    ] {
        let database = Database {
            name: "postgres".to_owned(),
            url: format!("{}?{parameters}", server.url().replace("127.0.0.1", host)),
        };
        let opened = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await;
        match (opened, expected) {
            (Ok((_postgres, mut stream)), Some(expected)) => {
                client.batch_execute("insert into t values (1); delete from t").await.unwrap();
                assert_eq!(trace(&mut *stream, 1).await[0], "insert t id=1");
                let found: bool = client.query_one(encrypted, &[]).await.unwrap().get(0);
                assert_eq!(found, expected, "{host} {parameters}");
                stream.close().await;
                // The next one needs the slot.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            (Err(failure), None) => assert!(!failure.chain().contains("docmill:"), "{}", failure.chain()),
            (Ok(_), None) => panic!("{host} {parameters} was let in"),
            (Err(failure), Some(_)) => panic!("{host} {parameters}: {}", failure.chain()),
        }
    }
}
