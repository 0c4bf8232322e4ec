# Counts visitors: one request after another.
use strict;
use warnings;
use IO::Socket::INET;

my %answer = (
    '/get_counter'               => sub { $_[0] },
    '/get_and_increment_counter' => sub { ++$_[0] },
    '/reset_counter'             => sub { $_[0] = 0 },
);
my $count  = 0;
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die "port 8080: $@\n";
$SIG{PIPE} = 'IGNORE';
while (my $visitor = $server->accept) {
    my ($path) = (<$visitor> // '') =~ m{^GET (\S+)};
    while (my $header = <$visitor>) { last if $header =~ /^\s*$/ }
    my $do = $answer{ $path // '' };
    print $visitor $do ? "HTTP/1.0 200 OK\r\n\r\n" . $do->($count) . "\n" : "HTTP/1.0 404 Not Found\r\n\r\n";
    close $visitor;
}
