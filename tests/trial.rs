//! A trial with the stand-ins: what `sandbox` prints is what a shell takes, for the routes file at hand.

use std::fs;

#[test]
fn what_the_sandbox_prints_suits_the_routes_file_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "[server]\nlisten = \"0.0.0.0:8444\"\ntls = { self_signed = true }\n[queue]\npath = \"data\"\nallow_volatile = true\n\
        [merchant.shop]\ntoken_sha256 = \"${env:SHOP}\"\n\
        [destination.shoes]\npreset = \"impact\"\nvars.account_sid = \"${env:SID}\"\nvars.campaign_id = \"${env:CAMPAIGN}\"\n\
        vars.event_type_id = 7\nsecrets.auth_token = \"${env:IMPACT}\"\n\
        [destination.mail]\nurl = \"https://mail.example/\"\nmap.id = \"event_id\"\nsecrets.key = \"${env:MAIL}\"\n\
        auth = { bearer = \"{secrets.key}\" }\n";
    fs::write(&path, text).unwrap();
    let mut sandbox = std::process::Command::new(env!("CARGO_BIN_EXE_capi-relay"))
        .args(["sandbox", "--port", "0", "-c", path.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(sandbox.stdout.take().unwrap()));
    let told: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.contains("Ctrl-C ends")).collect();
    let told = told.join("\n");
    sandbox.kill().unwrap();
    sandbox.wait().unwrap();
    assert!(told.contains("# No stand-in, and sent nothing here: mail.\n"), "{told}");
    assert!(told.contains("send conversion.json --url https://127.0.0.1:8444 --token sandbox-token-of-shop"), "{told}");
    assert!(!told.contains("thrad.origin") && !told.contains("mail.origin"), "{told}");

    // As a shell takes it, with what sends nothing in the place of `serve`.
    let (_, paste) = told.split_once("are then the stand-ins.\n").unwrap();
    let (serve, send) = paste.split_once("\n\n# Into a third").unwrap();
    let (_, file) = send.split_once("cat >").unwrap();
    let (file, _) = file.split_once("capi-relay send").unwrap();
    let own = env!("CARGO_BIN_EXE_capi-relay");
    let render = serve.replace("capi-relay serve", &format!("{own} render conversion.json"));
    let script = format!("set -e\ncat >{file}{render}");
    let shell = std::process::Command::new("sh").arg("-c").arg(&script).current_dir(folder.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&shell.stdout);
    assert!(shell.status.success(), "{script}\n{shown}{}", String::from_utf8_lossy(&shell.stderr));
    let account = capi_relay::sandbox::Accounts::default().impact_account_sid;
    assert!(shown.contains("POST http://127.0.0.1:") && shown.contains(&account), "{shown}");
}
