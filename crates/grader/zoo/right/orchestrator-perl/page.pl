# Greets a visitor with the number that the counter gives out. Its argument is the counter's address, a URL.
use strict;
use warnings;
use IO::Socket::INET;

my ($counter) = ($ARGV[0] // '') =~ m{^http://([^/]+)} or die "usage: page.pl http://ADDRESS:8080/\n";

sub next_number {
    my $socket = IO::Socket::INET->new(PeerAddr => $counter, Timeout => 3) or return;
    print $socket "GET /get_and_increment_counter HTTP/1.0\r\n\r\n";
    my @lines = <$socket>;
    return @lines && $lines[-1] =~ /^(\d+)/ ? $1 : undef;
}

my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die "port 8080: $@\n";
$SIG{PIPE} = 'IGNORE';
while (my $visitor = $server->accept) {
    my ($path) = (<$visitor> // '') =~ m{^GET (\S+)};
    while (my $header = <$visitor>) { last if $header =~ /^\s*$/ }
    my $number = ($path // '') eq '/' ? next_number() : undef;
    print $visitor !defined $path || $path ne '/' ? "HTTP/1.0 404 Not Found\r\n\r\n"
        : defined $number ? "HTTP/1.0 200 OK\r\n\r\nHello, visitor $number!\n"
        : "HTTP/1.0 502 Bad Gateway\r\n\r\nThe counter gives no answer.\n";
    close $visitor;
}
