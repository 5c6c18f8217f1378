//! `validate FILE`: what validate_submission.sh runs in images without curl.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

const BOUNDARY: &str = "medalist-4f1c9a60";

/// Posts the file to the validation service and prints the answer, as MLE-bench's script does.
pub(crate) fn post(path: &Path) -> i32 {
    let file = match File::open(path).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((facts, file)) if facts.is_file() => file,
        _ => {
            eprintln!("file `{}` does not exist", path.display());
            return 1;
        }
    };
    match exchange(path, file) {
        Ok(answer) => {
            println!("{answer}");
            0
        }
        Err(error) => {
            eprintln!("cannot reach the validation service: {error}");
            1
        }
    }
}

fn exchange(path: &Path, mut file: File) -> std::io::Result<String> {
    let port = std::env::var("GRADING_SERVER_PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(5000_u16);
    let name =
        path.file_name().unwrap_or_default().to_string_lossy().replace(['"', '\r', '\n'], "_");
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: text/csv\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = file.metadata()?.len();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "POST /validate HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n{head}",
        head.len() as u64 + length + tail.len() as u64
    )?;
    std::io::copy(&mut (&mut file).take(length), &mut stream)?;
    stream.write_all(tail.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_string()))
}
