//! The program of the README: a server with a service and a client of its own.

use bayeux::{Access, Server, ServiceCall, ServiceReply};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let echo = |call: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(call.data)]);
    let server = Server::builder()
        .service("/service/echo", Access::Sessions, echo)
        .start()?;
    let client = server.local_client();
    client
        .subscribe("/chat/**", |message| println!("{}", message.data()))?
        .keep();
    client.publish("/chat/demo", &"hello")?;
    println!("{}", server.url());
    std::thread::park();
    Ok(())
}
